package playbooks

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// identifier is what a step's ID and an input's name must be, so that an
// expression can say steps.ID and inputs.NAME.
var identifier = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// playbookName is what a playbook's name must be, so that it can be typed.
var playbookName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// reserved words can't be written after a dot in CEL
// (https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax).
var reserved = []string{
	"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in",
	"let", "loop", "package", "namespace", "null", "return", "true", "var", "void", "while",
}

// quote shortens: a problem fits a line.
func quote(s string) string {
	const most = 40
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return strconv.Quote(s)
}

func names[V any](m map[string]V) string {
	return list(slices.Sorted(maps.Keys(m)))
}

func list(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
