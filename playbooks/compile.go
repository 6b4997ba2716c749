package playbooks

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v4"

	"github.com/cordon-ir/cordon/internal/incident"
)

// expressions compiles a step's with and when.
func (p *parser) expressions(s *stepNode) {
	what := "step " + s.ID
	if s.with != nil {
		p.with(s, what)
	}
	if s.known {
		for _, f := range s.spec.Inputs {
			if f.Required && (s.with == nil || s.with.Kind == yaml.MappingNode && valueOf(s.with, f.Name) == nil) {
				p.add(s.at, "%s has no input %q, which %s requires", what, f.Name, s.Action)
			}
		}
	}
	if s.when != nil {
		if e, ok := p.condition(s, what); ok {
			s.When = &e
		}
	}
}

func (p *parser) with(s *stepNode, what string) {
	fields := make(map[string]incident.Field)
	for _, f := range s.spec.Inputs {
		fields[f.Name] = f
	}
	s.With = make(map[string]incident.Expr)
	for _, in := range p.pairs(s.with, "with of "+what) {
		f, ok := fields[in.key]
		if !ok {
			if s.known {
				p.add(at(in.name), "%s has no input %q; it has %s", s.Action, in.key, names(fields))
			}
			continue
		}
		if e, ok := p.value(s, in.node, "input "+in.key+" of "+what, f); ok {
			s.With[in.key] = e
		}
	}
}

// value reads a literal, a text with expressions in it, or one expression, as f's type.
func (p *parser) value(s *stepNode, n *yaml.Node, what string, f incident.Field) (incident.Expr, bool) {
	if f.Type == incident.Strings && n.Kind == yaml.SequenceNode {
		return p.listValue(s, n, what)
	}
	segments, ok := p.segments(n)
	if !ok {
		return incident.Expr{}, false
	}
	if only, ok := whole(segments); ok {
		return p.wholeValue(s, n, only, what, f)
	}
	if !slices.ContainsFunc(segments, func(s segment) bool { return s.isExpr }) {
		v, ok := p.literal(n, what, f)
		return constant(n.Value, v), ok
	}
	switch {
	case f.Type != incident.String:
		p.add(at(n), "%s must be %s: it can be one ${{ }}, but not text with one in it", what, typeWords[f.Type])
		return incident.Expr{}, false
	case len(f.Enum) > 0:
		p.add(at(n), "%s may be %s: it can be one ${{ }}, but not text with one in it", what, list(f.Enum))
		return incident.Expr{}, false
	}
	return p.textValue(s, n, segments)
}

// segments takes a scalar's text apart. What isn't text has no expressions.
func (p *parser) segments(n *yaml.Node) ([]segment, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		return nil, true
	}
	segments, err := split(n.Value)
	if err != nil {
		p.add(at(n), "%v", err)
		return nil, false
	}
	return segments, true
}

func constant(source string, v any) incident.Expr {
	return incident.Expr{Source: source, Eval: func(incident.Scope) (any, error) {
		if l, ok := v.([]string); ok {
			return slices.Clone(l), nil
		}
		return v, nil
	}}
}

func (p *parser) wholeValue(s *stepNode, n *yaml.Node, only segment, what string, f incident.Field) (incident.Expr, bool) {
	prog, ok := p.compile(s, n, only)
	if !ok {
		return incident.Expr{}, false
	}
	if !gives(prog.typ, f.Type) {
		p.add(at(n), "%s must be %s; ${{%s}} gives %s", what, typeWords[f.Type], only.text, prog.typ)
		return incident.Expr{}, false
	}
	if !p.enumFits(n, only, what, f) {
		return incident.Expr{}, false
	}
	return incident.Expr{Source: n.Value, Refs: refs(prog), Eval: func(sc incident.Scope) (any, error) {
		return prog.eval(sc, f.Type)
	}}, true
}

// gives reports whether a value of type t can be one of type f: CEL leaves the type
// of [] and of an object's fields open until it is evaluated.
func gives(t *cel.Type, f incident.FieldType) bool {
	if t.Kind() == cel.ListKind && f == incident.Strings {
		elem := t.Parameters()[0].Kind()
		return elem == cel.StringKind || elem == cel.DynKind
	}
	return t.Kind() == cel.DynKind || t.IsExactType(celType(f))
}

// enumFits: an input of the playbook that is handed straight to an action's
// enum must not allow what the action refuses; else a wrong word would be
// found only when the plan is made.
func (p *parser) enumFits(n *yaml.Node, only segment, what string, f incident.Field) bool {
	v, ok := p.scope.vars[strings.TrimSpace(only.text)]
	if !ok || v.step != "" || len(f.Enum) == 0 {
		return true
	}
	name := strings.TrimSpace(only.text)
	if len(v.words) == 0 {
		p.add(at(n), "%s may be %s; give %s an enum of these", what, list(f.Enum), name)
		return false
	}
	for _, w := range v.words {
		if !slices.Contains(f.Enum, w) {
			p.add(at(n), "%s may be %s; %s may also be %s", what, list(f.Enum), name, quote(w))
			return false
		}
	}
	return true
}

func (p *parser) textValue(s *stepNode, n *yaml.Node, segments []segment) (incident.Expr, bool) {
	e := incident.Expr{Source: n.Value}
	var pieces []piece
	good := true
	for _, seg := range segments {
		if !seg.isExpr {
			pieces = append(pieces, piece{text: seg.text})
			continue
		}
		prog, ok := p.compile(s, n, seg)
		if !ok {
			good = false
			continue
		}
		switch prog.typ.Kind() {
		case cel.StringKind, cel.IntKind, cel.BoolKind, cel.DynKind:
		default:
			p.add(at(n), "${{%s}} gives %s, which can't be put into a text", seg.text, prog.typ)
			good = false
		}
		pieces = append(pieces, piece{prog: prog})
		e.Refs = append(e.Refs, refs(prog)...)
	}
	e.Refs = unique(e.Refs)
	e.Eval = func(sc incident.Scope) (any, error) { return join(pieces, sc) }
	return e, good
}

func (p *parser) listValue(s *stepNode, n *yaml.Node, what string) (incident.Expr, bool) {
	var items []incident.Expr
	var sources, all []string
	good := true
	for _, item := range n.Content {
		e, ok := p.value(s, item, "an item of "+what, incident.Field{Type: incident.String})
		good = good && ok
		items = append(items, e)
		sources = append(sources, strconv.Quote(e.Source))
		all = append(all, e.Refs...)
	}
	return incident.Expr{Source: "[" + strings.Join(sources, ", ") + "]", Refs: unique(all), Eval: func(sc incident.Scope) (any, error) {
		out := make([]string, len(items))
		for i, e := range items {
			v, err := e.Eval(sc)
			if err != nil {
				return nil, err
			}
			out[i] = v.(string)
		}
		return out, nil
	}}, good
}

// condition reads a step's when.
func (p *parser) condition(s *stepNode, what string) (incident.Expr, bool) {
	n, what := s.when, "when of "+what
	segments, ok := p.segments(n)
	if !ok {
		return incident.Expr{}, false
	}
	if only, ok := whole(segments); ok {
		return p.wholeValue(s, n, only, what, incident.Field{Type: incident.Boolean})
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		p.add(at(n), "%s must be one expression: write ${{ … }}", what)
		return incident.Expr{}, false
	}
	v, ok := p.boolean(n, what)
	return constant(n.Value, v), ok
}

// compile compiles one expression of a step. It reports what is wrong with it, also
// that it reads a step which may not have ended; false: it can't be evaluated.
func (p *parser) compile(s *stepNode, n *yaml.Node, seg segment) (*program, bool) {
	prog, wrong := p.env.compile(seg.text)
	for _, f := range wrong {
		p.add(inText(n, seg.at, f.where), "%s", f.text)
	}
	if len(wrong) > 0 || prog.vague {
		return nil, false
	}
	before := p.needed(s.Step)
	good := true
	for _, r := range prog.reads {
		switch {
		case r.v.step == "" || before[r.v.step]:
			continue
		case r.v.step == s.ID:
			p.add(inText(n, seg.at, r.where), "step %s reads its own %s", s.ID, r.name)
		default:
			p.add(inText(n, seg.at, r.where), "step %s reads %s, but doesn't wait for it: add %s to its needs", s.ID, r.name, r.v.step)
		}
		good = false
	}
	return prog, good
}

func refs(prog *program) []string { return unique(prog.steps()) }

func unique(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

// inText is the place in the file of a place in an expression that begins at byte
// offset of n's text. It is exact where the text stands in one line or in a | block; in a
// folded text it is the text's first line.
func inText(n *yaml.Node, offset int, in place) place {
	before := n.Value[:offset]
	line := strings.Count(before, "\n") + in.line - 1
	switch {
	case n.Style&yaml.LiteralStyle != 0:
		return place{n.Line + 1 + line, 1}
	case n.Style&yaml.FoldedStyle != 0:
		return place{n.Line + 1, 1}
	case line > 0:
		return at(n)
	}
	column := n.Column + utf8.RuneCountInString(before) + in.column - 1
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
		column++
	}
	return place{n.Line, column}
}
