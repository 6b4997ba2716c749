package playbooks

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/problem"
)

// parser reads one playbook. What a step's values and conditions mean depends
// on all inputs and steps, so those are read first.
type parser struct {
	report
	specs map[string]incident.Spec
	pb    incident.Playbook
	steps []stepNode
	scope *scope
	env   compiler
}

// stepNode is a step before its expressions are compiled.
type stepNode struct {
	incident.Step
	at    place
	id    bool // Step.ID is there and its own
	spec  incident.Spec
	known bool // the spec is there
	needs []*yaml.Node
	with  *yaml.Node
	when  *yaml.Node
}

// Parse reads and checks a playbook against the actions' specs. The name is
// what problems call the file. It fails with *problem.Error, holding all that is wrong,
// sorted by line. The same text gives the same playbook.
func Parse(name string, src []byte, specs []incident.Spec) (incident.Playbook, error) {
	p := &parser{report: report{problem.Report{File: name}}, specs: make(map[string]incident.Spec, len(specs)), scope: newScope()}
	for _, s := range specs {
		p.specs[s.Name] = s
	}
	root := p.document(src)
	if root == nil {
		return incident.Playbook{}, p.Err()
	}
	sum := sha256.Sum256(src)
	p.pb.Source, p.pb.Digest = string(src), "sha256:"+hex.EncodeToString(sum[:])
	p.playbook(root)
	p.declare()
	env, err := p.scope.environment()
	if err != nil {
		p.add(at(root), "%v", err)
		return incident.Playbook{}, p.Err()
	}
	p.env = compiler{scope: p.scope, env: env}
	p.graph()
	for i := range p.steps {
		p.expressions(&p.steps[i])
		p.pb.Steps = append(p.pb.Steps, p.steps[i].Step)
	}
	p.order()
	if err := p.Err(); err != nil {
		return incident.Playbook{}, err
	}
	return p.pb, nil
}

// order lets the engine refuse an order of steps that would cost the host.
func (p *parser) order() {
	spec := func(name string) (incident.Spec, bool) {
		s, ok := p.specs[name]
		return s, ok
	}
	for _, err := range incident.CheckOrder(p.pb, spec) {
		var step *incident.StepError
		if errors.As(err, &step) {
			p.add(place{step.Line, 1}, "step %s %v", step.Step, step.Err)
			continue
		}
		p.add(place{}, "%v", err)
	}
}

func (p *parser) playbook(root *yaml.Node) {
	var steps bool
	p.fields(root, "a playbook", map[string]func(*yaml.Node){
		"name": func(n *yaml.Node) {
			s, ok := p.text(n, "name")
			if ok && !playbookName.MatchString(s) {
				p.add(at(n), "name %s must be lower-case letters, digits and hyphens, a letter first", quote(s))
			}
			p.pb.Name = s
		},
		"title":   func(n *yaml.Node) { p.pb.Title, _ = p.text(n, "title") },
		"summary": func(n *yaml.Node) { p.pb.Summary, _ = p.text(n, "summary") },
		"inputs":  p.inputs,
		"steps": func(n *yaml.Node) {
			steps = true
			nodes := p.items(n, "steps")
			for _, s := range nodes {
				p.step(s)
			}
			if n.Kind == yaml.SequenceNode && len(nodes) == 0 {
				p.add(at(n), "a playbook needs at least one step")
			}
		},
	})
	p.require(root, "the playbook", "name", "title")
	if root.Kind == yaml.MappingNode && !steps {
		p.add(at(root), "the playbook has no steps")
	}
}

// require reports fields that are not there.
func (p *parser) require(n *yaml.Node, what string, fields ...string) {
	if n.Kind != yaml.MappingNode {
		return
	}
	for _, f := range fields {
		if valueOf(n, f) == nil {
			p.add(at(n), "%s has no %s", what, f)
		}
	}
}

func valueOf(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func (p *parser) inputs(n *yaml.Node) {
	for _, in := range p.pairs(n, "inputs") {
		if !identifier.MatchString(in.key) || slices.Contains(reserved, in.key) {
			p.add(at(in.name), "input name %s must be lower-case letters, digits and underscores, a letter first, and no word of CEL", quote(in.key))
			continue
		}
		f, ok := p.input(in)
		if !ok {
			p.scope.vague["inputs."+in.key] = true
			continue
		}
		p.pb.Inputs = append(p.pb.Inputs, f)
	}
}

func (p *parser) input(in pair) (incident.Field, bool) {
	what := "input " + in.key
	f := incident.Field{Name: in.key}
	var preset, enum *yaml.Node
	before := len(p.List)
	p.fields(in.node, what, map[string]func(*yaml.Node){
		"type": func(n *yaml.Node) {
			s, _ := p.choice(n, "type of "+what, string(incident.String), string(incident.Integer), string(incident.Boolean), string(incident.Strings))
			f.Type = incident.FieldType(s)
		},
		"description": func(n *yaml.Node) { f.Description, _ = p.text(n, "description of "+what) },
		"required":    func(n *yaml.Node) { f.Required, _ = p.boolean(n, "required of "+what) },
		"default":     func(n *yaml.Node) { preset = n },
		"enum":        func(n *yaml.Node) { enum = n },
	})
	p.require(in.node, what, "type")
	if enum != nil {
		f.Enum = p.enum(enum, what, f.Type)
	}
	if preset != nil && f.Type != "" {
		f.Default, _ = p.literal(preset, "default of "+what, f)
	}
	if preset != nil && f.Required {
		p.add(at(preset), "%s is required: it can't have a default", what)
	}
	if preset == nil && !f.Required && f.Type != "" {
		p.add(at(in.name), "%s needs a default, or required: true", what)
	}
	return f, len(p.List) == before
}

func (p *parser) enum(n *yaml.Node, what string, t incident.FieldType) []string {
	if t != incident.String && t != incident.Strings && t != "" {
		p.add(at(n), "%s is %s: only a string, or strings, can have an enum", what, t)
		return nil
	}
	var words []string
	for _, w := range p.items(n, "enum of "+what) {
		s, ok := p.text(w, "a word of the enum of "+what)
		if ok && slices.Contains(words, s) {
			p.add(at(w), "enum of %s has %s twice", what, quote(s))
		}
		words = append(words, s)
	}
	if n.Kind == yaml.SequenceNode && len(words) == 0 {
		p.add(at(n), "enum of %s is empty", what)
	}
	return words
}

// literal reads a value that holds no expression.
func (p *parser) literal(n *yaml.Node, what string, f incident.Field) (any, bool) {
	switch f.Type {
	case incident.Boolean:
		return p.boolean(n, what)
	case incident.Integer:
		return p.integer(n, what)
	case incident.Strings:
		out := []string{}
		for _, item := range p.items(n, what) {
			s, ok := p.item(item, "an item of "+what, f)
			if !ok {
				return nil, false
			}
			out = append(out, s)
		}
		return out, n.Kind == yaml.SequenceNode
	default:
		if len(f.Enum) > 0 {
			return p.choice(n, what, f.Enum...)
		}
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
			return n.Value, true // may be empty
		}
		return p.text(n, what)
	}
}

func (p *parser) item(n *yaml.Node, what string, f incident.Field) (string, bool) {
	if len(f.Enum) > 0 {
		return p.choice(n, what, f.Enum...)
	}
	return p.text(n, what)
}

func (p *parser) step(n *yaml.Node) {
	s := stepNode{at: at(n)}
	s.Line, s.OnFailure, s.Approval = n.Line, incident.Stop, incident.ApprovalAuto
	what := "a step"
	if id := valueOf(n, "id"); n.Kind == yaml.MappingNode && id != nil && id.Kind == yaml.ScalarNode {
		what = "step " + id.Value
	}
	p.fields(n, what, map[string]func(*yaml.Node){
		"id":    func(n *yaml.Node) { s.ID, s.id = p.stepID(n) },
		"title": func(n *yaml.Node) { s.Title, _ = p.text(n, "title of "+what) },
		"action": func(n *yaml.Node) {
			name, ok := p.text(n, "action of "+what)
			s.Action = name
			s.spec, s.known = p.specs[name]
			if ok && !s.known {
				p.add(at(n), "there is no action %s; there are %s", quote(name), names(p.specs))
			}
		},
		"needs":   func(n *yaml.Node) { s.needs = p.items(n, "needs of "+what) },
		"with":    func(n *yaml.Node) { s.with = n },
		"when":    func(n *yaml.Node) { s.when = n },
		"timeout": func(n *yaml.Node) { s.Timeout = p.duration(n, "timeout of "+what) },
		"on_failure": func(n *yaml.Node) {
			w, _ := p.choice(n, "on_failure of "+what, string(incident.Stop), string(incident.Continue))
			s.OnFailure = incident.OnFailure(w)
		},
		"approval": func(n *yaml.Node) {
			w, _ := p.choice(n, "approval of "+what, string(incident.ApprovalAuto), string(incident.ApprovalRequired), string(incident.ApprovalNone))
			s.Approval = incident.ApprovalRule(w)
		},
	})
	p.require(n, what, "id", "action")
	p.steps = append(p.steps, s)
}

func (p *parser) stepID(n *yaml.Node) (string, bool) {
	id, ok := p.text(n, "id of a step")
	if !ok {
		return "", false
	}
	if !identifier.MatchString(id) || slices.Contains(reserved, id) {
		p.add(at(n), "step id %s must be lower-case letters, digits and underscores, a letter first, and no word of CEL", quote(id))
		return id, false
	}
	for _, s := range p.steps {
		if s.ID == id {
			p.add(at(n), "there are two steps %s; the first is in line %d", id, s.Line)
			return id, false
		}
	}
	return id, true
}

func (p *parser) duration(n *yaml.Node, what string) time.Duration {
	s, ok := p.text(n, what)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		p.add(at(n), "%s is %s; write a duration such as 90s, 10m or 1h30m", what, quote(s))
		return 0
	}
	return d
}

// declare makes known what the expressions can read.
func (p *parser) declare() {
	for _, f := range p.pb.Inputs {
		p.scope.addInput(f)
	}
	for _, s := range p.steps {
		if s.id {
			p.scope.addStep(s.ID, s.spec, s.known)
		}
	}
}
