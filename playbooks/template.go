package playbooks

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cordon-ir/cordon/internal/incident"
)

// segment is a piece of a text: plain text, or the CEL between ${{ and }}.
type segment struct {
	text   string
	isExpr bool
	at     int // of text, in bytes
}

const opening = "${{"

var errUnclosed = errors.New("${{ without }}")

// split takes a text apart. A }} inside a string or a map of the expression
// does not end it.
func split(s string) ([]segment, error) {
	var out []segment
	for pos := 0; pos < len(s); {
		start := strings.Index(s[pos:], opening)
		if start < 0 {
			return append(out, segment{text: s[pos:], at: pos}), nil
		}
		if start > 0 {
			out = append(out, segment{text: s[pos : pos+start], at: pos})
		}
		from := pos + start + len(opening)
		n := exprEnd(s[from:])
		if n < 0 {
			return nil, errUnclosed
		}
		out = append(out, segment{text: s[from : from+n], isExpr: true, at: from})
		pos = from + n + len("}}")
	}
	return out, nil
}

// exprEnd is where the }} that ends the expression stands in s, or -1.
func exprEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\'':
			n := literalEnd(s, i)
			if n < 0 {
				return -1
			}
			i = n
			continue
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		case c == '}' && strings.HasPrefix(s[i:], "}}"):
			return i
		}
		i++
	}
	return -1
}

// literalEnd is the index after the CEL string literal that starts at s[i], or
// -1: '…', "…", three of either, and raw ones (r'…'), where \ escapes nothing.
func literalEnd(s string, i int) int {
	raw := i > 0 && (s[i-1] == 'r' || s[i-1] == 'R')
	quote := s[i : i+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(s[i:], triple) {
		quote = triple
	}
	for j := i + len(quote); j < len(s); j++ {
		switch {
		case s[j] == '\\' && !raw:
			j++
		case strings.HasPrefix(s[j:], quote):
			return j + len(quote)
		}
	}
	return -1
}

// piece is a segment ready to be evaluated.
type piece struct {
	text string
	prog *program // nil: text as it is
}

// whole reports whether the text is one expression and nothing else.
func whole(segments []segment) (segment, bool) {
	var only segment
	found := false
	for _, s := range segments {
		switch {
		case s.isExpr && found:
			return segment{}, false
		case s.isExpr:
			only, found = s, true
		case strings.TrimSpace(s.text) != "":
			return segment{}, false
		}
	}
	return only, found
}

// join evaluates the pieces of a text one after the other.
func join(pieces []piece, sc incident.Scope) (string, error) {
	var b strings.Builder
	for _, p := range pieces {
		if p.prog == nil {
			b.WriteString(p.text)
			continue
		}
		t := incident.String
		switch {
		case p.prog.typ.IsExactType(celType(incident.Integer)):
			t = incident.Integer
		case p.prog.typ.IsExactType(celType(incident.Boolean)):
			t = incident.Boolean
		}
		v, err := p.prog.eval(sc, t)
		if err != nil {
			return "", err
		}
		fmt.Fprint(&b, v)
	}
	return b.String(), nil
}
