package playbooks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Problem is one thing that is wrong with a playbook.
type Problem struct {
	File   string
	Line   int // from 1
	Column int // from 1
	Text   string
}

// String is file:line:column: text.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// Problems is everything that is wrong with a playbook, in the order of the file.
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

// place is where in the file something stands.
type place struct{ line, column int }

func at(n *yaml.Node) place { return place{n.Line, n.Column} }

// report collects problems; parsing goes on after each.
type report struct {
	file string
	list []Problem
}

func (r *report) add(where place, format string, args ...any) {
	r.list = append(r.list, Problem{
		File: r.file, Line: max(where.line, 1), Column: max(where.column, 1), Text: fmt.Sprintf(format, args...),
	})
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
