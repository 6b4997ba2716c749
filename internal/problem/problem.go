package problem

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File   string
	Line   int // from 1
	Column int // from 1
	Text   string
}

// String is file:line:column: text.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// Error is everything that is wrong with a file, in the order of the file.
type Error struct {
	List []Problem
}

// Error has one problem a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.List))
	for i, p := range e.List {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Report collects the problems of a file; checking goes on after each.
type Report struct {
	File string
	List []Problem
}

// Add notes a problem. A line or column that is not known is 0, and shown as 1.
func (r *Report) Add(line, column int, format string, args ...any) {
	r.List = append(r.List, Problem{File: r.File, Line: max(line, 1), Column: max(column, 1), Text: fmt.Sprintf(format, args...)})
}

// Err is an *Error with what was found, or nil.
func (r *Report) Err() error {
	if len(r.List) == 0 {
		return nil
	}
	slices.SortStableFunc(r.List, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Error{List: r.List}
}
