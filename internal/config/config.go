package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/adrg/xdg"
	"go.yaml.in/yaml/v4"
)

// Config is the configuration file; docs/configuration.md shows one.
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
}

// DefaultFile is where the configuration is looked for unless a file is named.
func DefaultFile() string { return filepath.Join(xdg.ConfigHome, "cordon", "config.yaml") }

// Load reads a file. An empty path means DefaultFile, which need not exist. All
// problems of a file are reported together, with file and line.
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
	return Parse(path, b)
}

// Parse reads a configuration. The name is used in errors.
func Parse(name string, source []byte) (Config, error) {
	var c Config
	d := yaml.NewDecoder(bytes.NewReader(source))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, inFile(name, err)
	}
	if err := d.Decode(new(Config)); !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("%s: holds more than one YAML document", name)
	}
	var problems []error
	for _, p := range c.problems() {
		problems = append(problems, fmt.Errorf("%s: %s", name, p))
	}
	if err := errors.Join(problems...); err != nil {
		return Config{}, err
	}
	return c, nil
}

var position = regexp.MustCompile(`line (\d+)(?:, column (\d+))?:? ?`)

// inFile puts file and line in front of each of the decoder's problems.
func inFile(name string, err error) error {
	var problems []error
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(line)
		at := position.FindStringSubmatchIndex(line)
		if at == nil {
			if !strings.HasSuffix(line, ":") {
				problems = append(problems, fmt.Errorf("%s: %s", name, line))
			}
			continue
		}
		problems = append(problems, fmt.Errorf("%s:%s: %s", name, line[at[2]:at[3]], line[at[1]:]))
	}
	return errors.Join(problems...)
}

var (
	accountID = regexp.MustCompile(`^[0-9]{12}$`)
	roleARN   = regexp.MustCompile(`^arn:[a-z-]+:iam::[0-9]{12}:role/`)
)

func (c Config) problems() []string {
	var p []string
	e := c.Evidence
	if e.Bucket != "" && e.Directory != "" {
		p = append(p, "evidence: a bucket or a directory, not both")
	}
	if e.Mode != "" && e.Mode != "governance" && e.Mode != "compliance" {
		p = append(p, fmt.Sprintf("evidence.mode %q: want governance or compliance", e.Mode))
	}
	if e.Days < 0 || e.Days > 36500 {
		p = append(p, fmt.Sprintf("evidence.days %d: want 0 to 36500", e.Days))
	}
	for id, a := range c.Accounts {
		if !accountID.MatchString(id) {
			p = append(p, fmt.Sprintf("accounts: %q is not an account ID of 12 digits", id))
		}
		if !roleARN.MatchString(a.Role) {
			p = append(p, fmt.Sprintf("accounts.%s.role %q is not a role's ARN", id, a.Role))
		}
	}
	return p
}

// Roles are the accounts' roles to assume, by account ID.
func (c Config) Roles() map[string]string {
	roles := make(map[string]string, len(c.Accounts))
	for id, a := range c.Accounts {
		roles[id] = a.Role
	}
	return roles
}
