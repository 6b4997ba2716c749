package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/cordon-ir/cordon/internal/problem"
)

type report struct{ problem.Report }

// decode reads the file strictly; the node is nil where it could not be read at all.
func (r *report) decode(src []byte) (Config, *yaml.Node) {
	var doc yaml.Node
	loader, err := yaml.NewLoader(bytes.NewReader(src))
	if err == nil {
		err = loader.Load(&doc)
	}
	switch {
	case errors.Is(err, io.EOF): // nothing, or comments only
		return Config{}, nil
	case err != nil:
		r.yaml(err)
		return Config{}, nil
	case len(doc.Content) != 1 || doc.Content[0].ShortTag() == "!!null":
		return Config{}, nil
	}
	var c Config
	if err := yaml.Load(src, &c, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
		r.yaml(err)
	}
	return c, doc.Content[0]
}

func (r *report) yaml(err error) {
	var all *yaml.LoadErrors
	if errors.As(err, &all) {
		for _, e := range all.Errors {
			r.Add(e.Mark.Line, e.Mark.Column, "%s", plain(e.Message))
		}
		return
	}
	var one *yaml.LoadError
	if errors.As(err, &one) {
		r.Add(one.Mark.Line, one.Mark.Column, "%s", plain(one.Message))
		return
	}
	r.Add(1, 1, "%s", plain(err.Error()))
}

var (
	unknownField = regexp.MustCompile(`^field (\S+) not found in type .*$`)
	wrongType    = regexp.MustCompile("^cannot (?:construct|unmarshal) (\\S+)(?: (`.*`))? into (\\S+)$")
)

// plain says in the file's words what the YAML package says in Go's.
func plain(text string) string {
	text = strings.TrimPrefix(text, "yaml: ")
	if m := unknownField.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("there is no field %q", m[1])
	}
	if m := wrongType.FindStringSubmatch(text); m != nil {
		want := map[string]string{"string": "text", "int": "a whole number"}[m[3]]
		if want == "" {
			want = "a mapping"
		}
		got := map[string]string{"!!seq": "a list", "!!map": "a mapping"}[m[1]]
		if got == "" {
			got = strings.ReplaceAll(m[2], "`", `"`)
		}
		return fmt.Sprintf("must be %s, not %s", want, got)
	}
	return text
}
