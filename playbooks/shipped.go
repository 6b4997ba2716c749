package playbooks

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/cordon-ir/cordon/internal/incident"
)

//go:embed *.yaml
var shipped embed.FS

// ErrUnknown: no playbook of this name is shipped.
var ErrUnknown = errors.New("no such playbook")

// Load reads, parses and checks a playbook: a shipped one by its name, any
// other by its path (which contains a / or ends in .yaml or .yml). It fails with
// ErrUnknown, an error of the file system, or *problem.Error.
func Load(nameOrPath string, specs []incident.Spec) (incident.Playbook, error) {
	src, err := Source(nameOrPath)
	if err != nil {
		return incident.Playbook{}, err
	}
	file := nameOrPath
	if !isPath(nameOrPath) {
		file += ".yaml"
	}
	return Parse(file, src, specs)
}

// Shipped are the names of the shipped playbooks, sorted.
func Shipped() []string {
	files, err := fs.Glob(shipped, "*.yaml")
	if err != nil {
		panic(err) // the pattern is constant
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(f, ".yaml")
	}
	return files
}

// Source is the text of a playbook, found as Load finds it.
func Source(nameOrPath string) ([]byte, error) {
	if isPath(nameOrPath) {
		src, err := os.ReadFile(nameOrPath)
		if err != nil {
			return nil, fmt.Errorf("playbook: %w", err)
		}
		return src, nil
	}
	src, err := shipped.ReadFile(nameOrPath + ".yaml")
	if err != nil {
		hint := "the shipped ones are " + list(Shipped()) + "; a file of your own is named by its path, such as ./" + nameOrPath + ".yaml"
		return nil, incident.WithHint(fmt.Errorf("playbook %q: %w", nameOrPath, ErrUnknown), hint)
	}
	return src, nil
}

func isPath(s string) bool {
	return strings.ContainsAny(s, `/\`) || strings.HasSuffix(s, ".yaml") || strings.HasSuffix(s, ".yml")
}
