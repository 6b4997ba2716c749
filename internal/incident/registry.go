package incident

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// Registry holds the actions a playbook can name, by name. It is wired in one
// place and never changes afterwards.
type Registry map[string]Action

var (
	actionName     = regexp.MustCompile(`^[a-z][a-z0-9-]*\.[a-z][a-z0-9-]*$`)
	fieldName      = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	permissionName = regexp.MustCompile(`^[a-z0-9-]+:[A-Za-z0-9*]+$`)
)

// NewRegistry refuses duplicate actions and ill-formed specs, all of them
// together: a spec that is wrong must not wait for an incident to show.
func NewRegistry(actions ...Action) (Registry, error) {
	r := make(Registry, len(actions))
	var errs []error
	for _, a := range actions {
		spec := a.Spec()
		if _, twice := r[spec.Name]; twice {
			errs = append(errs, fmt.Errorf("action %q: registered twice", spec.Name))
			continue
		}
		for _, err := range spec.problems() {
			errs = append(errs, fmt.Errorf("action %q: %w", spec.Name, err))
		}
		r[spec.Name] = a
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return r, nil
}

// Specs lists the actions' specs, sorted by name.
func (r Registry) Specs() []Spec {
	specs := make([]Spec, 0, len(r))
	for _, name := range slices.Sorted(maps.Keys(r)) {
		specs = append(specs, r[name].Spec())
	}
	return specs
}

// Spec returns the spec of the named action: what CheckOrder asks for.
func (r Registry) Spec(name string) (Spec, bool) {
	a, ok := r[name]
	if !ok {
		return Spec{}, false
	}
	return a.Spec(), true
}

func (s Spec) problems() []error {
	var errs []error
	if !actionName.MatchString(s.Name) {
		errs = append(errs, errors.New("the name must look like isolate.network"))
	}
	if s.Summary == "" {
		errs = append(errs, errors.New("no summary"))
	}
	if s.Timeout <= 0 {
		errs = append(errs, errors.New("no timeout"))
	}
	if s.Impact < ReadOnly || s.Impact > Irreversible {
		errs = append(errs, fmt.Errorf("impact %d does not exist", int(s.Impact)))
	}
	for _, p := range s.Permissions {
		if !permissionName.MatchString(p) {
			errs = append(errs, fmt.Errorf("permission %q: want service:Operation", p))
		}
	}
	errs = append(errs, fieldProblems("input", s.Inputs, String, Integer, Boolean, Strings)...)
	errs = append(errs, fieldProblems("output", s.Outputs, String, Integer, Boolean, Strings, Object)...)
	return errs
}

// fieldProblems checks the declarations of fields, not values.
func fieldProblems(kind string, fields []Field, types ...FieldType) []error {
	var errs []error
	seen := make(map[string]bool)
	for _, f := range fields {
		problem := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("%s %q: %w", kind, f.Name, fmt.Errorf(format, args...)))
		}
		if !fieldName.MatchString(f.Name) {
			problem("the name must be lower case with underscores")
		}
		if seen[f.Name] {
			problem("declared twice")
		}
		seen[f.Name] = true
		if !slices.Contains(types, f.Type) {
			problem("type %q does not exist here", f.Type)
			continue
		}
		if len(f.Enum) > 0 && f.Type != String && f.Type != Strings {
			problem("only strings can have an enum")
		}
		if f.Default == nil {
			continue
		}
		if f.Required {
			problem("required, and yet it has a default")
		}
		if _, err := f.Check(f.Default); err != nil {
			problem("default: %w", err)
		}
	}
	return errs
}
