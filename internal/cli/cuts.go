package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/cordon-ir/cordon/internal/incident"
)

// writeCuts prints what becomes of each path, one a line:
//
//	eth0 → Internet gateway igw-1 from 198.51.100.4  cut by groups, addresses
//
// Before the cut (expected) the words are of what will be.
func writeCuts(w io.Writer, indent string, cuts []incident.Cut, expected bool) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range cuts {
		fmt.Fprintf(table, "%s%s\t%s\n", indent, c.Path, cutWords(c, expected))
	}
	_ = table.Flush() // it fails only where w does, whose caller sees that
}

func cutWords(c incident.Cut, expected bool) string {
	words := "cut by "
	switch {
	case c.Cut && expected:
		words = "will be cut by "
	case !c.Cut && expected:
		words = "NOT cut for what is open now, only "
	case !c.Cut:
		words = "NOT cut, only "
	}
	if !c.Cut && len(c.Measures) == 0 {
		words = "NOT cut"
	}
	words += strings.Join(c.Measures, ", ")
	if c.Reason != "" {
		words += ": " + c.Reason
	}
	return words
}

// openPaths are the paths that are not cut.
func openPaths(cuts []incident.Cut) []incident.Cut {
	return slices.DeleteFunc(slices.Clone(cuts), func(c incident.Cut) bool { return c.Cut })
}
