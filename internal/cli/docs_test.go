package cli

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cordon-ir/cordon/internal/config"
)

const repository = "../.."

// section is what a page says under a heading, up to the next heading.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, page))
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(b), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", page, heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

var (
	codeSpan = regexp.MustCompile("`[^`]+`")
	longFlag = regexp.MustCompile("(?:^|[ `[(])(--[a-z][a-z-]*)")
	word     = regexp.MustCompile(`^[a-z]+$`)
)

// documentedCommands are the commands of cli.md's table, each with the flags that its
// row names. A code span begins with a command, or with a sibling of the one
// before ("case open", "list"), or is about the row's last command.
func documentedCommands(t *testing.T, root *cobra.Command) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	for line := range strings.Lines(section(t, "docs/cli.md", "Commands")) {
		cell := strings.Split(strings.ReplaceAll(line, `\|`, "/"), "|")
		if len(cell) < 3 || !strings.Contains(cell[1], "`") {
			continue
		}
		// The row's second cell can name a flag, not a command.
		last := root
		for _, span := range codeSpan.FindAllString(cell[1], -1) {
			fields := strings.Fields(strings.Trim(span, "`"))
			if word.MatchString(fields[0]) {
				cmd, _, err := root.Find(fields)
				if siblings := last.Parent(); siblings != nil && (err != nil || cmd == root) {
					if cmd, _, err = siblings.Find(fields); cmd == siblings {
						cmd = root
					}
				}
				if err != nil || cmd == root {
					t.Errorf("docs/cli.md names a command that does not exist: %s", span)
					continue
				}
				last = cmd
			}
			all[last.CommandPath()] = append(all[last.CommandPath()], flagsIn(span)...)
		}
		all[last.CommandPath()] = append(all[last.CommandPath()], flagsIn(cell[2])...)
		if strings.Contains(cell[1], "(each `--case ID`)") {
			for _, c := range last.Parent().Commands() {
				all[c.CommandPath()] = append(all[c.CommandPath()], "case")
			}
		}
	}
	return all
}

func flagsIn(text string) []string {
	if strings.Contains(text, "TARGETS") {
		text += " --instance --instances-file --filter"
	}
	var names []string
	for _, m := range longFlag.FindAllStringSubmatch(text, -1) {
		names = append(names, strings.TrimPrefix(m[1], "--"))
	}
	return names
}

// commands are those below cmd that do something.
func commands(cmd *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, c := range cmd.Commands() {
		if c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if !isGroup(c) {
			all = append(all, c)
		}
		all = append(all, commands(c)...)
	}
	return all
}

// isGroup reports whether the command only has others below it: rehearse has them too.
func isGroup(cmd *cobra.Command) bool {
	return cmd.HasSubCommands() && !cmd.LocalNonPersistentFlags().HasFlags()
}

func TestTheDocumentedCommandsAndFlagsAreThoseThatExist(t *testing.T) {
	root := newRoot(&globals{})
	root.InitDefaultCompletionCmd()
	said := documentedCommands(t, root)
	for _, cmd := range commands(root) {
		path := cmd.CommandPath()
		flags, ok := said[path]
		if !ok {
			t.Errorf("docs/cli.md does not name the command %q", path)
		}
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !slices.Contains(flags, f.Name) {
				t.Errorf("docs/cli.md does not name --%s of %q in its row", f.Name, path)
			}
		})
	}
	for path, flags := range said {
		cmd, _, err := root.Find(strings.Fields(path)[1:])
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range flags {
			if !hasFlag(cmd, f) {
				t.Errorf("docs/cli.md names --%s of %q, which has no such flag", f, path)
			}
		}
	}
}

func hasFlag(cmd *cobra.Command, name string) bool {
	return name == "help" || cmd.Flags().Lookup(name) != nil || cmd.InheritedFlags().Lookup(name) != nil
}

func TestTheDocumentedGlobalFlagsAreThoseThatExist(t *testing.T) {
	said := flagsIn(section(t, "docs/cli.md", "Global flags"))
	root := newRoot(&globals{})
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(said, f.Name) {
			t.Errorf("docs/cli.md does not name the global flag --%s", f.Name)
		}
	})
	for _, name := range said {
		if root.PersistentFlags().Lookup(name) == nil {
			t.Errorf("docs/cli.md names a global flag that does not exist: --%s", name)
		}
	}
}

// A command line of ours in a text: in a page between backticks, or a line of a
// code block; in code, a hint's, between apostrophes and up to what is put in there.
var (
	inPage = regexp.MustCompile("`(?:\\$\\()?(cordon [^`]+)`|(?m)^[ \\t]*(cordon [^#\\n]+)")
	inCode = regexp.MustCompile(`'(cordon [^'"]+)`)
)

// Pages, playbooks, hints and help name commands that a person will type under stress.
func TestEveryCommandThatATextNamesExists(t *testing.T) {
	root := newRoot(&globals{})
	found := make(map[string]bool)
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != repository):
			return fs.SkipDir
		case d.IsDir() || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text := map[string]*regexp.Regexp{".md": inPage, ".yaml": inPage, ".go": inCode}[filepath.Ext(path)]
		if text == nil {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range text.FindAllStringSubmatch(string(b), -1) {
			line := strings.Join(m[1:], "")
			if problem := wrongCommand(root, line); problem != "" {
				t.Errorf("%s: %s: %s", path, line, problem)
			}
			found[line] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 50 {
		t.Errorf("only %d were found: %q", len(found), slices.Sorted(maps.Keys(found)))
	}
}

// notCommands begin like one.
var notCommands = map[string]string{
	"cordon evidence manifest": "the text that a manifest's note signs",
	"cordon evidence transfer": "the text that a transfer's note signs",
	"cordon TOKEN NAME":        "the comment of a command to the SSM agent",
	"cordon TOKEN memory N":    "the same",
	"cordon COMMAND --help":    "any command",
}

func wrongCommand(root *cobra.Command, line string) string {
	if _, ok := notCommands[strings.TrimSpace(line)]; ok {
		return ""
	}
	cmd, rest, err := root.Find(strings.Fields(line)[1:])
	if err != nil || cmd == root {
		return "there is no such command"
	}
	if len(rest) > 0 && isGroup(cmd) && !strings.HasPrefix(rest[0], "-") {
		return fmt.Sprintf("%q has no command %q", cmd.CommandPath(), rest[0])
	}
	for _, f := range flagsIn(line) {
		if !hasFlag(cmd, f) {
			return fmt.Sprintf("%q has no flag --%s", cmd.CommandPath(), f)
		}
	}
	return ""
}

var yamlBlock = regexp.MustCompile("(?ms)^( *)```yaml\n(.*?)^ *```")

// Whoever writes a playbook begins with what a page shows.
func TestTheDocumentedPlaybooksAreValid(t *testing.T) {
	// What the pages' single steps refer to.
	const around = "name: page\ntitle: A page's steps\ninputs:\n  avml_sha256: {type: string, required: true}\n  access_key_id: {type: string, required: true}\n" +
		"steps:\n- id: snapshots\n  action: capture.snapshots\n"
	pages, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range yamlBlock.FindAllStringSubmatch(string(b), -1) {
			text := strings.ReplaceAll("\n"+m[2], "\n"+m[1], "\n")[1:]
			if strings.HasPrefix(text, "- id:") {
				text = around + text
			}
			file := filepath.Join(t.TempDir(), "page.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if filepath.Base(page) == "configuration.md" {
				_, err = config.Load(file)
			} else {
				_, err = loadPlaybook(file)
			}
			if err != nil {
				t.Errorf("%s: %v", page, err)
			}
			checked++
		}
	}
	if checked < 5 {
		t.Errorf("only %d blocks of YAML were found", checked)
	}
}
