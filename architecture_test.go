package cordon_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/cordon-ir/cordon"

// room is what a package may import of ours, and what it must not import of
// anyone's, with the reason. docs/architecture.md has the same table.
type room struct {
	may    []string
	banned map[string]string // prefix of an import path to the reason
}

const (
	coreIsPure    = "the core is the standard library only: it must be readable, testable and portable without AWS or a file format"
	noJournal     = "an action must not reach the journal but through its Request: what it does is recorded for it, not by it"
	noSiblings    = "actions are combined by playbooks, never by calling each other"
	noAWS         = "it must work without AWS: from the journal alone"
	noClockAround = "time is read and waited for through incident.Clock only"
)

var (
	aws     = "github.com/aws/"
	actions = map[string]string{
		module + "/internal/journal":   noJournal,
		module + "/internal/cli":       noSiblings,
		module + "/internal/rehearsal": "production code does not know whether AWS is simulated",
	}
)

var house = map[string]room{
	"internal/incident":           {may: nil, banned: map[string]string{"github.com/": coreIsPure, "golang.org/": coreIsPure, "go.": coreIsPure}},
	"internal/clock":              {may: nil, banned: map[string]string{aws: noAWS}},
	"internal/journal":            {may: []string{"internal/incident"}, banned: map[string]string{aws: noAWS}},
	"internal/evidence":           {may: []string{"internal/incident"}, banned: map[string]string{aws: noAWS}},
	"internal/problem":            {may: nil, banned: map[string]string{"github.com/": coreIsPure, "golang.org/": coreIsPure, "go.": coreIsPure}},
	"internal/config":             {may: []string{"internal/problem"}, banned: map[string]string{aws: noAWS}},
	"playbooks":                   {may: []string{"internal/incident", "internal/problem"}, banned: map[string]string{aws: "a playbook is checked without an account"}},
	"isolate":                     {may: []string{"internal/incident", "isolate/reach", "isolate/serving"}, banned: actions},
	"isolate/serving":             {banned: actions},
	"isolate/reach":               {may: []string{"internal/incident"}, banned: actions},
	"capture":                     {may: []string{"internal/incident", "internal/evidence", "capture/diskimage"}, banned: actions},
	"capture/diskimage":           {may: []string{"internal/incident", "internal/evidence"}, banned: map[string]string{aws: "an image is read, years later, without AWS access to where it was taken"}},
	"cleanroom":                   {may: []string{"internal/incident", "internal/evidence", "capture/diskimage", "cleanroom/proof"}, banned: actions},
	"cleanroom/proof":             {banned: actions},
	"internal/triage":             {may: nil, banned: map[string]string{aws: "whoever shows a result reads it back from its JSON, without AWS"}},
	"internal/triage/survey":      {may: []string{"internal/incident", "internal/triage", "isolate/reach", "isolate/serving"}, banned: actions},
	"internal/access":             {may: []string{"internal/incident", "internal/quota"}},
	"internal/quota":              {may: nil, banned: map[string]string{"github.com/": coreIsPure, "golang.org/": coreIsPure, "go.": coreIsPure}},
	"internal/vault":              {may: []string{"internal/incident", "internal/evidence"}},
	"internal/rehearsal":          {may: []string{"internal/clock", "internal/quota"}, banned: map[string]string{module + "/internal/incident": "the account must not know what the product wants from it"}},
	"internal/tui":                {may: []string{"internal/incident", "internal/journal", "internal/evidence", "internal/triage"}, banned: map[string]string{aws: "the TUI reads the account through the same commands that a script uses"}},
	"internal/cli":                {may: []string{"*"}},
	"cmd/cordon":                  {may: []string{"internal/cli"}},
	"docs/tour":                   {may: []string{"internal/clock"}, banned: map[string]string{aws: "it is a person at a terminal"}},
	"internal/conformance":        {},
	"internal/evidence/storetest": {may: []string{"internal/evidence", "internal/incident"}},
}

// imports are those of a package's files that are not tests, by file.
func imports(t *testing.T, dir string) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			all[f] = append(all[f], p)
		}
	}
	return all
}

// packages are the folders with Go files that are not only tests.
func packages(t *testing.T) []string {
	t.Helper()
	var dirs []string
	err := fs.WalkDir(os.DirFS("."), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && p != "."):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(p, ".go") && !strings.HasSuffix(p, "_test.go") && !slices.Contains(dirs, path.Dir(p)):
			dirs = append(dirs, path.Dir(p))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

func TestEveryRoomImportsOnlyWhatTheTableAllows(t *testing.T) {
	for _, dir := range packages(t) {
		r, ok := house[dir]
		if !ok {
			t.Errorf("package %s is not in the import table: add it there and to docs/architecture.md", dir)
			continue
		}
		for file, list := range imports(t, dir) {
			for _, p := range list {
				r.check(t, file, p)
			}
		}
	}
}

// An import that nobody needs any more would be allowed for ever.
func TestTheTableAllowsNoMoreThanIsUsed(t *testing.T) {
	for dir, r := range house {
		used := make(map[string]bool)
		for _, list := range imports(t, dir) {
			for _, p := range list {
				used[strings.TrimPrefix(p, module+"/")] = true
			}
		}
		for _, p := range r.may {
			if p != "*" && !used[p] {
				t.Errorf("%s may import %s, and does not: take it out of the table and of docs/architecture.md", dir, p)
			}
		}
	}
}

func TestTheArchitecturePageNamesEveryRoom(t *testing.T) {
	page, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for dir := range house {
		short := strings.TrimPrefix(dir, "internal/")
		if !strings.Contains(string(page), "`"+short+"`") {
			t.Errorf("docs/architecture.md has no row for `%s` in its table of imports", short)
		}
	}
}

func (r room) check(t *testing.T, file, imported string) {
	t.Helper()
	for prefix, reason := range r.banned {
		if strings.HasPrefix(imported, prefix) && !(prefix == "github.com/" && strings.HasPrefix(imported, module)) {
			t.Errorf("%s imports %s: %s", file, imported, reason)
		}
	}
	ours, ok := strings.CutPrefix(imported, module+"/")
	if ok && !slices.Contains(r.may, ours) && !slices.Contains(r.may, "*") {
		t.Errorf("%s imports %s, which its row of the import table does not allow", file, imported)
	}
}

// The clock package is the only one that reads the time or sleeps: whatever
// else did would not be in a rehearsal's time.
func TestNobodyButTheClockReadsTheTime(t *testing.T) {
	for _, dir := range packages(t) {
		if dir == "internal/clock" {
			continue
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for n, line := range strings.Split(string(b), "\n") {
				code, _, _ := strings.Cut(line, "//")
				for _, call := range []string{"time.Now(", "time.Sleep(", "time.After(", "time.NewTimer(", "time.NewTicker(", "time.Tick(", "time.Since(", "time.Until("} {
					if strings.Contains(code, call) {
						t.Errorf("%s:%d: %s…): %s", f, n+1, call, noClockAround)
					}
				}
			}
		}
	}
}
