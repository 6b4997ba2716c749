package playbooks

import (
	"go.yaml.in/yaml/v4"

	"github.com/cordon-ir/cordon/internal/problem"
)

// place is where in the file something stands.
type place struct{ line, column int }

func at(n *yaml.Node) place { return place{n.Line, n.Column} }

// report collects problems; parsing goes on after each.
type report struct{ problem.Report }

func (r *report) add(where place, format string, args ...any) {
	r.Add(where.line, where.column, format, args...)
}
