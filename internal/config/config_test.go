package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/internal/config"
)

func TestTheDocumentedConfigurationIsAccepted(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "```yaml\n")
	source, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatal("docs/configuration.md shows no configuration")
	}
	c, err := config.Parse("configuration.md", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	if c.Evidence.Bucket == "" || c.Evidence.Days == 0 || len(c.Roles()) != 1 || c.Tags.Owner == "" || len(c.Inputs) == 0 || c.Region == "" {
		t.Errorf("got %+v", c)
	}
}

func TestWhatIsWrongIsNamedWithFileAndLine(t *testing.T) {
	for name, tc := range map[string]struct {
		source string
		want   []string
	}{
		"unknown field":   {"evidence:\n  bukket: x\n", []string{"c.yaml:2: ", "bukket"}},
		"duplicate field": {"region: a\nregion: b\n", []string{"c.yaml:2: ", "region"}},
		"wrong type":      {"evidence:\n  days: soon\n", []string{"c.yaml:2: ", "soon"}},
		"not YAML":        {"evidence: [\n", []string{"c.yaml"}},
		"two documents":   {"region: a\n---\nregion: b\n", []string{"more than one"}},
		"several at once": {"evidence: {mode: forever, days: -1}\naccounts: {me: {role: x}}\n", []string{"forever", "days -1", `"me"`, `role "x"`}},
		"both stores":     {"evidence: {bucket: b, directory: d}\n", []string{"not both"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("c.yaml", []byte(tc.source))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestAnEmptyFileIsAConfiguration(t *testing.T) {
	for _, source := range []string{"", "# nothing\n"} {
		if _, err := config.Parse("c.yaml", []byte(source)); err != nil {
			t.Errorf("%q: %v", source, err)
		}
	}
}

func TestANamedFileMustExist(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("accepted a file that is not there")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("evidence: {bucket: b, days: 30}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, source []byte) {
		if _, err := config.Parse("c.yaml", source); err != nil && err.Error() == "" {
			t.Error("an error without a text")
		}
	})
}
