package cli

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/tui"
)

// inFull is how many targets a command is written out for.
const inFull = 5

// again is the command, for a shell, that works on the targets which the plan leaves out.
// Name is the playbook as it was named, a path perhaps.
func again(p incident.Plan, name string, pb incident.Playbook) string {
	words := []string{"cordon", "run", name, "--case", p.Case}
	if p.Kind == incident.KindRelease {
		words = []string{"cordon", "release", "--case", p.Case}
	}
	if len(p.LeftOut) > inFull {
		words = append(words, "--instances-file", "FILE")
	} else {
		for _, l := range p.LeftOut {
			words = append(words, "--instance", l.Target.String())
		}
	}
	for _, f := range pb.Inputs {
		if v, ok := p.Inputs[f.Name]; ok && !sameInput(f, v) {
			words = append(words, "--set", f.Name+"="+inputText(v))
		}
	}
	for _, id := range p.Without {
		words = append(words, "--skip", id)
	}
	for i, w := range words {
		words[i] = tui.Quote(w)
	}
	command := strings.Join(words, " ")
	if len(p.LeftOut) > inFull {
		command += " (FILE: the targets that are left out, one a line)"
	}
	return command
}

// sameInput tells whether v is what the playbook takes where nothing is given.
func sameInput(f incident.Field, v any) bool {
	if f.Default == nil {
		return false
	}
	def, err := f.Check(f.Default)
	if err != nil {
		return false
	}
	now, err := f.Check(v)
	return err == nil && reflect.DeepEqual(def, now)
}

// inputText writes a value as --set takes it.
func inputText(v any) string {
	switch l := v.(type) {
	case []string:
		return strings.Join(l, ",")
	case []any:
		var texts []string
		for _, e := range l {
			texts = append(texts, fmt.Sprint(e))
		}
		return strings.Join(texts, ",")
	default:
		return fmt.Sprint(v)
	}
}
