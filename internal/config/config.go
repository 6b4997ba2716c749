package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/adrg/xdg"

	"github.com/cordon-ir/cordon/internal/problem"
)

// Config is the configuration file; docs/configuration.md shows one. The zero
// Config is that of no file.
type Config struct {
	Profile  string             `yaml:"profile"`
	Region   string             `yaml:"region"`
	Evidence Evidence           `yaml:"evidence"`
	Accounts map[string]Account `yaml:"accounts"` // by account ID
	Tags     Tags               `yaml:"tags"`
	Inputs   map[string]any     `yaml:"inputs"` // defaults of playbook inputs, by name
}

// Evidence says where evidence is kept, and for how long.
type Evidence struct {
	Bucket    string `yaml:"bucket"`
	Prefix    string `yaml:"prefix"`
	Region    string `yaml:"region"` // of the bucket; empty: the incident's
	Mode      string `yaml:"mode"`   // governance (default) or compliance
	Days      int    `yaml:"days"`   // of retention; 0: the bucket's default retention
	KMSKey    string `yaml:"kms_key"`
	LegalHold bool   `yaml:"legal_hold"`
	Account   string `yaml:"account"`   // that owns the bucket; every request names it
	Directory string `yaml:"directory"` // instead of a bucket; not write-once
}

// Account is another account that cordon works in.
type Account struct {
	Role string `yaml:"role"` // ARN of the role to assume there
}

// Tags are the names of the tags that say whose an instance is.
type Tags struct {
	Owner          string `yaml:"owner"`
	Queue          string `yaml:"queue"`
	Classification string `yaml:"classification"`
	Criticality    string `yaml:"criticality"`
	Environment    string `yaml:"environment"`
}

// DefaultFile is where the configuration is looked for unless a file is named.
func DefaultFile() string { return filepath.Join(xdg.ConfigHome, "cordon", "config.yaml") }

// Load reads a file. An empty path means DefaultFile, which need not exist. What
// is wrong with the file is reported all together as *problem.Error. A relative
// directory for evidence is one beside the file.
func Load(path string) (Config, error) {
	optional := path == ""
	if optional {
		path = DefaultFile()
	}
	b, err := os.ReadFile(path)
	if optional && errors.Is(err, fs.ErrNotExist) {
		return Config{}, nil
	}
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	c, err := Parse(path, b)
	if err != nil {
		return Config{}, err
	}
	if d := c.Evidence.Directory; d != "" && !filepath.IsAbs(d) {
		c.Evidence.Directory = filepath.Join(filepath.Dir(path), d)
	}
	return c, nil
}

// Parse reads a configuration; the name is used in problems. It fails with *problem.Error.
func Parse(name string, source []byte) (Config, error) {
	r := report{problem.Report{File: name}}
	c, root := r.decode(source)
	if root != nil {
		r.check(root, c)
	}
	if err := r.Err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Roles are the accounts' roles to assume, by account ID.
func (c Config) Roles() map[string]string {
	roles := make(map[string]string, len(c.Accounts))
	for id, a := range c.Accounts {
		roles[id] = a.Role
	}
	return roles
}
