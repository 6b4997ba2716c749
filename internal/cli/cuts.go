package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/cordon-ir/cordon/internal/incident"
)

// writeCuts prints what becomes of each path:
//
//	eth0 → Internet gateway igw-1 from 198.51.100.4  cut by groups, addresses [1]
//	eth0 with other subnets: subnet-1 and 7 alike    cut by groups, edge-acl
//	[1] that open connections end at once is not documented by AWS
//
// Before the cut (expected) the words are of what will be. Paths of an interface that are alike
// share a line, unless each is wanted.
func writeCuts(w io.Writer, indent string, cuts []incident.Cut, expected, each bool) {
	lines := make([][]incident.Cut, 0, len(cuts))
	for _, c := range cuts {
		i := slices.IndexFunc(lines, func(l []incident.Cut) bool { return !each && alike(l[0], c) })
		if i < 0 {
			lines = append(lines, []incident.Cut{c})
			continue
		}
		lines[i] = append(lines[i], c)
	}
	var reasons []string
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		path := l[0].Path
		if n := len(l) - 1; n > 0 {
			path += fmt.Sprintf(" and %d alike", n)
		}
		mark := ""
		if r := l[0].Reason; r != "" {
			if !slices.Contains(reasons, r) {
				reasons = append(reasons, r)
			}
			mark = fmt.Sprintf(" [%d]", slices.Index(reasons, r)+1)
		}
		seen := ""
		if each && l[0].Observed != "" {
			seen = ": " + l[0].Observed
		}
		fmt.Fprintf(table, "%s%s\t%s%s%s\n", indent, path, cutWords(l[0], expected), mark, seen)
	}
	_ = table.Flush() // it fails only where w does, whose caller sees that
	for i, r := range reasons {
		fmt.Fprintf(w, "%s[%d] %s\n", indent, i+1, r)
	}
}

// alike: told in one line, nothing is lost but which ones.
func alike(a, b incident.Cut) bool {
	return a.Interface == b.Interface && a.Kind == b.Kind && a.Cut && b.Cut && a.Reason == b.Reason && slices.Equal(a.Measures, b.Measures)
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
	return words + strings.Join(c.Measures, ", ")
}

// openPaths are the paths that are not cut.
func openPaths(cuts []incident.Cut) []incident.Cut {
	return slices.DeleteFunc(slices.Clone(cuts), func(c incident.Cut) bool { return c.Cut })
}
