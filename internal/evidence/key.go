package evidence

import (
	"net/url"
	"strings"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Key is where a store keeps an object of a run: cases/CASE/RUN/NAME. What a
// rehearsal stores lies under rehearsal/, so that it can't pass as real.
// Characters that would open another folder are escaped.
func Key(c incident.Case, run, name string) string {
	root := "cases"
	if c.Rehearsal {
		root = "rehearsal"
	}
	return strings.Join([]string{root, segment(c.ID), segment(run), segment(name)}, "/")
}

// segment is one level of a key. A segment of dots alone would be a folder's
// name for itself or for the one above.
func segment(s string) string {
	if strings.Trim(s, ".") == "" {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}
