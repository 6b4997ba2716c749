package playbooks

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/cordon-ir/cordon/internal/incident"
)

// variable is one thing that an expression can read, by its full name.
type variable struct {
	typ   incident.FieldType
	words []string // the only values it can have; nil: any
	step  string   // ID, of steps.ID.…
	read  func(incident.Scope) (any, bool)
}

// scope is everything that the expressions of one playbook can read.
type scope struct {
	vars map[string]variable
	// vague are the prefixes under which nothing is known, because what would
	// declare it is wrong; that is reported there, not again at each use.
	vague map[string]bool
}

var roots = []string{"case", "target", "inputs", "steps"}

func newScope() *scope {
	s := &scope{vars: make(map[string]variable), vague: make(map[string]bool)}
	text := func(name string, read func(incident.Scope) string) {
		s.vars[name] = variable{typ: incident.String, read: func(sc incident.Scope) (any, bool) { return read(sc), true }}
	}
	text("case.id", func(sc incident.Scope) string { return sc.Case.ID })
	text("case.title", func(sc incident.Scope) string { return sc.Case.Title })
	text("case.severity", func(sc incident.Scope) string { return sc.Case.Severity })
	text("case.ticket", func(sc incident.Scope) string { return sc.Case.Ticket })
	text("case.lead", func(sc incident.Scope) string { return sc.Case.Lead })
	text("target.account", func(sc incident.Scope) string { return sc.Target.Account })
	text("target.region", func(sc incident.Scope) string { return sc.Target.Region })
	text("target.instance", func(sc incident.Scope) string { return sc.Target.Instance })
	s.vars["case.rehearsal"] = variable{typ: incident.Boolean, read: func(sc incident.Scope) (any, bool) { return sc.Case.Rehearsal, true }}
	return s
}

func (s *scope) addInput(f incident.Field) {
	s.vars["inputs."+f.Name] = variable{typ: f.Type, words: f.Enum, read: func(sc incident.Scope) (any, bool) {
		v, ok := sc.Inputs[f.Name]
		return v, ok
	}}
}

func (s *scope) addStep(id string, spec incident.Spec, known bool) {
	s.vars["steps."+id+".state"] = variable{typ: incident.String, words: stateNames(), step: id,
		read: func(sc incident.Scope) (any, bool) {
			step, ok := sc.Steps[id]
			return step.State, ok && step.State != ""
		}}
	if !known {
		s.vague["steps."+id+".outputs"] = true
		return
	}
	for _, f := range spec.Outputs {
		s.vars["steps."+id+".outputs."+f.Name] = variable{typ: f.Type, words: f.Enum, step: id,
			read: func(sc incident.Scope) (any, bool) {
				v, ok := sc.Steps[id].Outputs[f.Name]
				return v, ok
			}}
	}
}

func stateNames() []string {
	var out []string
	for s := incident.Pending; s <= incident.Unknown; s++ {
		out = append(out, s.String())
	}
	return out
}

// find returns the variable that a dotted name starts with: case.id.size has case.id.
func (s *scope) find(dotted string) (v variable, vague bool, err error) {
	for name := dotted; ; {
		if v, ok := s.vars[name]; ok {
			return v, false, nil
		}
		if s.vague[name] {
			return variable{}, true, nil
		}
		dot := strings.LastIndexByte(name, '.')
		if dot < 0 {
			return variable{}, false, s.unknown(dotted)
		}
		name = name[:dot]
	}
}

// unknown says what is wrong with a name that nothing declares.
func (s *scope) unknown(dotted string) error {
	parts := strings.Split(dotted, ".")
	prefix := parts[0] + "."
	switch {
	case parts[0] == "steps" && len(parts) == 1:
		return fmt.Errorf("steps is not a value: write steps.ID.state or steps.ID.outputs.NAME")
	case parts[0] == "steps" && !slices.Contains(s.below("steps."), parts[1]):
		return fmt.Errorf("there is no step %q; there are %s", parts[1], list(s.below("steps.")))
	case parts[0] == "steps" && len(parts) == 2:
		return fmt.Errorf("%s is not a value: write %[1]s.state or %[1]s.outputs.NAME", dotted)
	case parts[0] == "steps" && parts[2] == "outputs" && len(parts) == 3:
		return fmt.Errorf("%s is not a value; it has %s", dotted, list(s.below(dotted+".")))
	case parts[0] == "steps" && parts[2] == "outputs":
		return fmt.Errorf("step %s has no output %q; it has %s", parts[1], parts[3], list(s.below(strings.Join(parts[:3], ".")+".")))
	case parts[0] == "steps":
		return fmt.Errorf("steps.%s has no %q; it has state and outputs", parts[1], parts[2])
	case len(parts) == 1:
		return fmt.Errorf("%s is not a value; it has %s", dotted, list(s.below(prefix)))
	case parts[0] == "inputs":
		return fmt.Errorf("the playbook has no input %q; it has %s", parts[1], list(s.below(prefix)))
	default:
		return fmt.Errorf("%s has no %q; it has %s", parts[0], parts[1], list(s.below(prefix)))
	}
}

// below lists the next parts of the names that begin with prefix.
func (s *scope) below(prefix string) []string {
	next := make(map[string]bool)
	for name := range s.vars {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			word, _, _ := strings.Cut(rest, ".")
			next[word] = true
		}
	}
	return slices.Sorted(maps.Keys(next))
}

// environment declares each variable under its full, dotted name. CEL resolves the longest
// declared name first, so no struct types are needed, and a name
// that isn't declared doesn't compile.
func (s *scope) environment() (*cel.Env, error) {
	opts := []cel.EnvOption{
		cel.ParserExpressionSizeLimit(4096),
		cel.ParserRecursionLimit(64),
	}
	for _, name := range slices.Sorted(maps.Keys(s.vars)) {
		opts = append(opts, cel.Variable(name, celType(s.vars[name].typ)))
	}
	return cel.NewEnv(opts...)
}

func celType(t incident.FieldType) *cel.Type {
	switch t {
	case incident.String:
		return cel.StringType
	case incident.Integer:
		return cel.IntType
	case incident.Boolean:
		return cel.BoolType
	case incident.Strings:
		return cel.ListType(cel.StringType)
	case incident.Object:
		return cel.MapType(cel.StringType, cel.DynType)
	default:
		panic("playbooks: unknown field type " + string(t))
	}
}
