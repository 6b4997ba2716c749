package playbooks

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxSource bounds a playbook's text, in bytes: a playbook is read by people
// before it is run.
const maxSource = 256 << 10

// document returns the root of the one YAML document in src, or nil after
// reporting why there is none.
func (r *report) document(src []byte) *yaml.Node {
	if len(src) > maxSource {
		r.add(place{}, "the playbook has %d bytes; at most %d are read", len(src), maxSource)
		return nil
	}
	if len(bytes.TrimSpace(src)) == 0 {
		r.add(place{}, "the playbook is empty")
		return nil
	}
	var doc yaml.Node
	if err := yaml.Load(src, &doc); err != nil {
		r.syntax(err)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		r.add(place{}, "the playbook is empty")
		return nil
	}
	before := len(r.List)
	r.plain(doc.Content[0])
	if len(r.List) > before {
		return nil
	}
	return doc.Content[0]
}

func (r *report) syntax(err error) {
	var all *yaml.LoadErrors
	if errors.As(err, &all) {
		for _, e := range all.Errors {
			r.malformed(e)
		}
		return
	}
	var one *yaml.LoadError
	if errors.As(err, &one) {
		r.malformed(one)
		return
	}
	r.add(place{}, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
}

func (r *report) malformed(e *yaml.LoadError) {
	text := strings.TrimPrefix(e.Message, "yaml: ")
	if text == "mapping values are not allowed in this context" {
		text += `: put a value that holds ": " in quotes`
	}
	r.add(place{e.Mark.Line, e.Mark.Column}, "%s", text)
}

// plain refuses what makes a text mean something else than it seems to:
// anchors, aliases and tags of one's own.
func (r *report) plain(n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode:
		r.add(at(n), "aliases (*%s) are not allowed: write the value out", n.Value)
		return
	case n.Anchor != "":
		r.add(at(n), "anchors (&%s) are not allowed: write the value out", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		r.add(at(n), "tags (%s) are not allowed", n.Tag)
	}
	for _, c := range n.Content {
		r.plain(c)
	}
}

// pair is one entry of a mapping.
type pair struct {
	key        string
	name, node *yaml.Node
}

// pairs reads a mapping in the order of the file; duplicates and keys that
// are not text are reported and left out.
func (r *report) pairs(n *yaml.Node, what string) []pair {
	if n.Kind != yaml.MappingNode {
		r.add(at(n), "%s must be a mapping, not %s", what, kindOf(n))
		return nil
	}
	var out []pair
	lines := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str" {
			r.add(at(k), "a key of %s must be text, not %s", what, kindOf(k))
			continue
		}
		if line, ok := lines[k.Value]; ok {
			r.add(at(k), "%s has %q twice; the first is in line %d", what, k.Value, line)
			continue
		}
		lines[k.Value] = k.Line
		out = append(out, pair{key: k.Value, name: k, node: n.Content[i+1]})
	}
	return out
}

// fields reads a mapping whose keys are known, handing each value on.
func (r *report) fields(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	for _, p := range r.pairs(n, what) {
		read, ok := known[p.key]
		if !ok {
			r.add(at(p.name), "%s has no field %q; it may have %s", what, p.key, names(known))
			continue
		}
		read(p.node)
	}
}

// text reads a scalar that is text.
func (r *report) text(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		r.add(at(n), "%s must be text, not %s%s", what, kindOf(n), quoteAdvice(n))
		return "", false
	}
	if strings.TrimSpace(n.Value) == "" {
		r.add(at(n), "%s is empty", what)
		return "", false
	}
	return n.Value, true
}

// choice reads text that is one of a few words.
func (r *report) choice(n *yaml.Node, what string, words ...string) (string, bool) {
	s, ok := r.text(n, what)
	if ok && !slices.Contains(words, s) {
		r.add(at(n), "%s is %q; it may be %s", what, s, list(words))
		return "", false
	}
	return s, ok
}

func (r *report) boolean(n *yaml.Node, what string) (value, ok bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Decode(&value) != nil {
		r.add(at(n), "%s must be true or false, not %s", what, kindOf(n))
		return false, false
	}
	return value, true
}

func (r *report) integer(n *yaml.Node, what string) (value int64, ok bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Decode(&value) != nil {
		r.add(at(n), "%s must be a whole number, not %s", what, kindOf(n))
		return 0, false
	}
	return value, true
}

// items reads a sequence.
func (r *report) items(n *yaml.Node, what string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		r.add(at(n), "%s must be a list, not %s", what, kindOf(n))
		return nil
	}
	return n.Content
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			return "nothing"
		}
		return quote(n.Value)
	default:
		return "that"
	}
}

func quoteAdvice(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
		return ": put it in quotes"
	}
	return ""
}
