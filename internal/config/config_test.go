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

func FuzzParse(f *testing.F) {
	f.Add([]byte("evidence: {bucket: b, days: 30}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, source []byte) {
		if _, err := config.Parse("c.yaml", source); err != nil && err.Error() == "" {
			t.Error("an error without a text")
		}
	})
}
