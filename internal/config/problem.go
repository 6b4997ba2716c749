package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Problem is one thing that is wrong with the file. Line and Column count from 1.
type Problem struct {
	File         string
	Line, Column int
	Text         string
}

// String is file:line:column: text.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// Problems is everything that is wrong with the file, in its order.
type Problems struct {
	List []Problem
}

// Error has one problem a line.
func (e *Problems) Error() string {
	lines := make([]string, len(e.List))
	for i, p := range e.List {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

type report struct {
	file string
	list []Problem
}

func (r *report) add(line, column int, format string, args ...any) {
	r.list = append(r.list, Problem{File: r.file, Line: max(line, 1), Column: max(column, 1), Text: fmt.Sprintf(format, args...)})
}

func (r *report) err() error {
	if len(r.list) == 0 {
		return nil
	}
	slices.SortStableFunc(r.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Problems{List: r.list}
}

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
			r.add(e.Mark.Line, e.Mark.Column, "%s", plain(e.Message))
		}
		return
	}
	var one *yaml.LoadError
	if errors.As(err, &one) {
		r.add(one.Mark.Line, one.Mark.Column, "%s", plain(one.Message))
		return
	}
	r.add(1, 1, "%s", plain(err.Error()))
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
