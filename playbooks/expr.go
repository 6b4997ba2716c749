package playbooks

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// costLimit bounds one evaluation, in CEL's cost units: far more than a
// condition over a few hundred snapshots takes, far less than a second.
const costLimit = 100_000

// compiler turns the expressions of one playbook into functions.
type compiler struct {
	scope *scope
	env   *cel.Env
}

// program is one compiled CEL expression.
type program struct {
	source string
	typ    *cel.Type
	reads  []read
	vague  bool // it reads something that is reported elsewhere
	scope  *scope
	run    cel.Program
}

// read is a use of a variable.
type read struct {
	name  string
	v     variable
	where place // in the expression; line and column from 1
}

// fault is what is wrong with an expression, and where in it.
type fault struct {
	where place // line and column from 1
	text  string
}

func (c *compiler) compile(source string) (*program, []fault) {
	if strings.TrimSpace(source) == "" {
		return nil, []fault{{place{1, 1}, "the expression is empty"}}
	}
	parsed, issues := c.env.Parse(source)
	if issues.Err() != nil {
		return nil, faults(issues)
	}
	p := &program{source: source, scope: c.scope}
	if wrong := p.resolve(parsed.NativeRep()); len(wrong) > 0 {
		return nil, wrong
	}
	if p.vague {
		return p, nil
	}
	checked, issues := c.env.Check(parsed)
	if issues.Err() != nil {
		return nil, faults(issues)
	}
	p.typ = checked.OutputType()
	run, err := c.env.Program(checked, cel.CostLimit(costLimit), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, []fault{{place{1, 1}, err.Error()}}
	}
	p.run = run
	return p, nil
}

func faults(issues *cel.Issues) []fault {
	var out []fault
	for _, e := range issues.Errors() {
		text := strings.TrimSuffix(e.Message, " (in container '')")
		out = append(out, fault{place{e.Location.Line(), e.Location.Column() + 1}, text})
	}
	return out
}

// resolve finds every name that the expression reads, and says of those that
// nothing declares what there is instead: CEL alone would only call them undeclared.
func (p *program) resolve(a *ast.AST) []fault {
	var wrong []fault
	inside := make(map[int64]bool) // nodes that belong to a name already taken
	add := func(e ast.Expr, format string, args ...any) {
		wrong = append(wrong, fault{p.where(a, e), fmt.Sprintf(format, args...)})
	}
	ast.PreOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if inside[e.ID()] {
			return
		}
		switch e.Kind() {
		case ast.ComprehensionKind:
			for _, v := range []string{e.AsComprehension().IterVar(), e.AsComprehension().IterVar2()} {
				if slices.Contains(roots, v) {
					add(e, "%q can't be the name of a variable here: it is what expressions read", v)
				}
			}
		case ast.CallKind:
			if text := p.comparison(e.AsCall()); text != "" {
				add(e, "%s", text)
			}
		case ast.IdentKind, ast.SelectKind:
			dotted, ids, ok := dottedName(e)
			if !ok || !slices.Contains(roots, firstPart(dotted)) {
				return
			}
			for _, id := range ids {
				inside[id] = true
			}
			v, vague, err := p.scope.find(dotted)
			switch {
			case err != nil:
				add(e, "%s", err)
			case vague:
				p.vague = true
			default:
				p.reads = append(p.reads, read{name: dotted, v: v, where: p.where(a, e)})
			}
		}
	}))
	return wrong
}

// where is the start of a name: CEL locates a selection at its dot.
func (p *program) where(a *ast.AST, e ast.Expr) place {
	for e.Kind() == ast.SelectKind {
		e = e.AsSelect().Operand()
	}
	l := a.SourceInfo().GetStartLocation(e.ID())
	return place{l.Line(), l.Column() + 1}
}

// comparison finds a comparison that can never hold: a name with few values
// against a word that is none of them.
func (p *program) comparison(call ast.CallExpr) string {
	if f := call.FunctionName(); f != operators.Equals && f != operators.NotEquals {
		return ""
	}
	for i, e := range call.Args() {
		dotted, _, ok := dottedName(e)
		v, declared := p.scope.vars[dotted]
		other := call.Args()[1-i]
		if !ok || !declared || v.words == nil || other.Kind() != ast.LiteralKind {
			continue
		}
		if word, ok := other.AsLiteral().(types.String); ok && !slices.Contains(v.words, string(word)) {
			return fmt.Sprintf("%s is never %s; it may be %s", dotted, quote(string(word)), list(v.words))
		}
	}
	return ""
}

// dottedName reads a.b.c, and the IDs of its nodes; ok is false for anything else.
func dottedName(e ast.Expr) (name string, ids []int64, ok bool) {
	var parts []string
	for {
		ids = append(ids, e.ID())
		switch e.Kind() {
		case ast.SelectKind:
			parts = append(parts, e.AsSelect().FieldName())
			e = e.AsSelect().Operand()
		case ast.IdentKind:
			parts = append(parts, strings.TrimPrefix(e.AsIdent(), "."))
			slices.Reverse(parts)
			return strings.Join(parts, "."), ids, true
		default:
			return "", nil, false
		}
	}
}

func firstPart(dotted string) string {
	first, _, _ := strings.Cut(dotted, ".")
	return first
}

// steps are the IDs of the steps that the expression reads.
func (p *program) steps() []string {
	var out []string
	for _, r := range p.reads {
		if r.v.step != "" {
			out = append(out, r.v.step)
		}
	}
	return out
}

// eval runs the program. An error of a part that doesn't matter (the other
// branch of a condition) doesn't count: CEL decides.
func (p *program) eval(sc incident.Scope, t incident.FieldType) (any, error) {
	names := &resolver{scope: p.scope, values: sc}
	v, _, err := p.run.Eval(names)
	switch {
	case err != nil && names.err != nil:
		return nil, fmt.Errorf("${{%s}}: %w", p.source, names.err)
	case err != nil:
		return nil, fmt.Errorf("${{%s}}: %w", p.source, err)
	}
	out, err := fromCEL(v, t)
	if err != nil {
		return nil, fmt.Errorf("${{%s}}: %w", p.source, err)
	}
	return out, nil
}

// resolver hands CEL the values behind the names, and keeps why one has none.
type resolver struct {
	scope  *scope
	values incident.Scope
	err    error
}

// Parent is nil: there is nothing around it.
func (r *resolver) Parent() cel.Activation { return nil }

// ResolveName finds the value of a full, dotted name.
func (r *resolver) ResolveName(name string) (any, bool) {
	v, ok := r.scope.vars[name]
	if !ok {
		return nil, false
	}
	raw, ok := v.read(r.values)
	if !ok {
		r.err = fmt.Errorf("%s has no value%s", name, r.because(v))
		return nil, false
	}
	value, err := toCEL(raw, v.typ)
	if err != nil {
		r.err = fmt.Errorf("%s %w", name, err)
		return nil, false
	}
	return value, true
}

func (r *resolver) because(v variable) string {
	if state := r.values.Steps[v.step].State; v.step != "" && state != "" {
		return ": step " + v.step + " is " + state
	}
	return ""
}
