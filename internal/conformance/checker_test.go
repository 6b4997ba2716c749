package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// dropped is what the journal has in place of a secret (journal-format.md).
const dropped = "(dropped)"

// checker holds one request to its service's model.
type checker struct {
	model    *model
	problems []string
	values   int // checked
	hidden   int // of them by name only: the journal does not keep what they were
}

// checkRequest holds a request, in the form the journal keeps it (a call.intent's
// params), to the model. The checker says what is wrong, each with its place.
func checkRequest(m *model, operation string, params []byte) *checker {
	c := &checker{model: m}
	op, ok := m.Operations[operation]
	if !ok {
		c.say(operation, "no such operation")
		return c
	}
	var input any
	if err := json.Unmarshal(params, &input); err != nil {
		c.say(operation, "params: %v", err)
		return c
	}
	if op.Input != nil {
		c.check(operation, *op.Input, input)
	} else if fields, ok := input.(map[string]any); !ok || len(fields) > 0 {
		c.say(operation, "takes nothing, has %s", params)
	}
	slices.Sort(c.problems)
	return c
}

func (c *checker) say(place, format string, args ...any) {
	c.problems = append(c.problems, place+": "+fmt.Sprintf(format, args...))
}

// check holds one value to its shape.
func (c *checker) check(place string, r reference, v any) {
	s := c.model.Shapes[r.Shape]
	c.values++
	switch s.Type {
	case "structure":
		c.structure(place, s, v)
	case "list":
		c.list(place, s, v)
	case "map":
		c.pairs(place, s, v)
	case "string":
		c.text(place, s, v)
	case "blob":
		c.blob(place, s, v)
	case "integer", "long", "float", "double":
		c.number(place, s, v)
	case "boolean":
		if _, ok := v.(bool); !ok {
			c.say(place, "%v is no boolean", v)
		}
	case "timestamp":
		text, _ := v.(string)
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			c.say(place, "%v is no time", v)
		}
	default:
		c.say(place, "the model's type %s is not known", s.Type)
	}
}

func (c *checker) structure(place string, s *shape, v any) {
	fields, ok := v.(map[string]any)
	if !ok {
		c.say(place, "%v is no structure", v)
		return
	}
	for name, value := range fields {
		member, ok := s.byGoName[name]
		if !ok {
			c.say(place, "no member %s", name)
			continue
		}
		c.check(place+"."+name, s.Members[member], value)
	}
	for _, member := range s.Required {
		if _, ok := fields[goName(member)]; !ok {
			c.say(place, "%s is missing", goName(member))
		}
	}
	if s.Union && len(fields) != 1 {
		c.say(place, "a union with %d members set", len(fields))
	}
}

func (c *checker) list(place string, s *shape, v any) {
	if kept, ok := digested(v); ok && kept.items != nil {
		c.hidden++
		c.size(place, s, *kept.items, "items")
		return
	}
	items, ok := v.([]any)
	if !ok {
		c.say(place, "%v is no list", v)
		return
	}
	c.size(place, s, float64(len(items)), "items")
	for i, item := range items {
		c.check(fmt.Sprintf("%s[%d]", place, i), s.Member, item)
	}
}

func (c *checker) pairs(place string, s *shape, v any) {
	pairs, ok := v.(map[string]any)
	if !ok {
		c.say(place, "%v is no map", v)
		return
	}
	c.size(place, s, float64(len(pairs)), "pairs")
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		c.check(place+" key", s.Key, key)
		c.check(place+"."+key, s.Value, pairs[key])
	}
}

func (c *checker) text(place string, s *shape, v any) {
	if kept, ok := digested(v); ok && kept.items == nil { // a long text
		c.hidden++
		// Bytes, where the bound is in characters: there are never fewer.
		if s.Min != nil && kept.bytes < *s.Min {
			c.say(place, "%v bytes, fewer than %v characters", kept.bytes, *s.Min)
		}
		return
	}
	text, ok := v.(string)
	switch {
	case !ok:
		c.say(place, "%v is no string", v)
		return
	case text == dropped:
		c.hidden++
		return
	case len(s.Enum) > 0 && !slices.Contains(s.Enum, text):
		c.say(place, "%q is not in the enumeration", text)
	}
	c.size(place, s, float64(utf8.RuneCountInString(text)), "characters")
	if s.pattern != nil && !s.pattern.MatchString(text) {
		c.say(place, "%q does not match %s", text, s.Pattern)
	}
}

// blob is a body, or bytes that the journal has the digest of.
func (c *checker) blob(place string, s *shape, v any) {
	c.hidden++
	if v == dropped {
		return
	}
	if kept, ok := digested(v); ok && kept.items == nil {
		c.size(place, s, kept.bytes, "bytes")
		return
	}
	if fields, ok := v.(map[string]any); !ok || fields["body"] != dropped {
		c.say(place, "%v is no blob", v)
	} else if bytes, ok := fields["bytes"].(float64); ok {
		c.size(place, s, bytes, "bytes")
	}
}

func (c *checker) number(place string, s *shape, v any) {
	n, ok := v.(float64)
	if text, isText := v.(string); isText { // past what JSON keeps exact
		whole, err := strconv.ParseInt(text, 10, 64)
		n, ok = float64(whole), err == nil
	}
	if !ok {
		c.say(place, "%v is no number", v)
		return
	}
	if (s.Type == "integer" || s.Type == "long") && n != math.Trunc(n) {
		c.say(place, "%v is no whole number", n)
	}
	if s.Type == "integer" && (n > math.MaxInt32 || n < math.MinInt32) {
		c.say(place, "%v does not fit 32 bits", n)
	}
	c.size(place, s, n, "")
}

func (c *checker) size(place string, s *shape, n float64, what string) {
	if s.Min != nil && n < *s.Min {
		c.say(place, "%v is below the least, %v %s", n, *s.Min, what)
	}
	if s.Max != nil && n > *s.Max {
		c.say(place, "%v is above the most, %v %s", n, *s.Max, what)
	}
}

// digest is what the journal keeps of long texts, long lists and bytes.
type digest struct {
	bytes float64
	items *float64 // of a list
}

func digested(v any) (digest, bool) {
	fields, _ := v.(map[string]any)
	sum, _ := fields["sha256"].(string)
	bytes, ok := fields["bytes"].(float64)
	if len(sum) != 64 || !ok {
		return digest{}, false
	}
	if items, ok := fields["items"].(float64); ok {
		return digest{bytes, &items}, true
	}
	return digest{bytes: bytes}, true
}
