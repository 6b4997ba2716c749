package tui

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cordon-ir/cordon/internal/incident"
)

// asked are the permissions that a plan needs, and what IAM's policy simulator says of them.
type asked []incident.Permission

// stepIn is a step wherever its targets are in one account and Region.
type stepIn struct {
	place incident.Target // without an instance
	id    string
}

// missing are the denied ones, step by step.
func (a asked) missing() missingBy {
	by := make(missingBy)
	for _, p := range a.in(incident.PermissionDenied) {
		for _, id := range p.Steps {
			at := stepIn{incident.Target{Account: p.Account, Region: p.Region}, id}
			by[at] = append(by[at], p)
		}
	}
	return by
}

type missingBy map[stepIn]asked

// of are those that a step needs, wherever it acts.
func (by missingBy) of(s incident.StepPlan) (all asked) {
	if len(by) == 0 || s.Skip != "" {
		return nil
	}
	for _, place := range s.Places() {
		all = append(all, by[stepIn{place, s.ID}]...)
	}
	return all
}

// in are those of a state.
func (a asked) in(state incident.PermissionState) asked {
	return slices.DeleteFunc(slices.Clone(a), func(p incident.Permission) bool { return p.State != state })
}

// mark is the worst that is known of them.
func (a asked) mark(t *Theme) Mark {
	switch {
	case len(a.in(incident.PermissionDenied)) > 0:
		return Mark{t.sign("✗", "x"), t.Bad, "missing"}
	case len(a.in(incident.PermissionUnknown)) > 0:
		return Mark{"?", t.Warn, "not known"}
	}
	return Mark{t.sign("✓", "v"), t.Good, "granted"}
}

// count tells how many are missing, or not known; empty: none.
func (a asked) count(t *Theme, state incident.PermissionState) string {
	n := len(a.in(state))
	switch {
	case n == 0:
		return ""
	case state == incident.PermissionDenied:
		return t.Bad.Render(t.sign("✗", "x") + " " + count(n, "permission missing", "permissions missing"))
	}
	return t.Warn.Render("? " + count(n, "permission not known", "permissions not known"))
}

// inWords is what the whole comes to.
func (a asked) inWords() string {
	text := count(len(a), "IAM action", "IAM actions")
	if n := len(a.in(incident.PermissionDenied)); n > 0 {
		text += fmt.Sprintf(", %d missing", n)
	}
	if n := len(a.in(incident.PermissionUnknown)); n > 0 {
		text += fmt.Sprintf(", %d not known", n)
	}
	return text
}

// sign tells in a step's row how many it lacks: in a word where there is room.
func (a asked) sign(t *Theme, room bool) string {
	word := "IAM"
	if room {
		word = "missing"
	}
	if len(a) == 0 {
		return ""
	}
	return t.Bad.Render(fmt.Sprintf("%s %d %s ", t.sign("✗", "x"), len(a), word))
}

// where is the place that a permission is asked for.
func where(p incident.Permission) string { return p.Account + "/" + p.Region }

// missing are what a step can't do, and why.
func (d *detail) missing(all asked) {
	if len(all) == 0 {
		return
	}
	d.rule(count(len(all), "permission missing", "permissions missing"))
	for _, p := range all {
		d.styled("  ", d.t.sign("✗", "x")+" "+p.Action, d.t.Bad)
		d.styled("    ", p.Reason+" ("+where(p)+")", d.t.Dim)
	}
}

// permissions are all that the plan needs, what is missing first.
func (d *detail) permissions(all asked) {
	d.rule("IAM actions that the steps need")
	for _, p := range all.in(incident.PermissionDenied) {
		d.styled("  ", d.t.sign("✗", "x")+" "+p.Action+" is missing, in "+where(p), d.t.Bad)
		d.styled("    ", p.Reason+"; needed by "+strings.Join(p.Steps, ", "), d.t.Dim)
	}
	unknown := all.in(incident.PermissionUnknown)
	for len(unknown) > 0 { // by the reason that they share
		reason := unknown[0].Reason
		same := func(p incident.Permission) bool { return p.Reason == reason }
		var names []string
		for _, p := range unknown {
			if same(p) {
				names = append(names, p.Action)
			}
		}
		unknown = slices.DeleteFunc(unknown, same)
		d.styled("  ", fmt.Sprintf("? %d not known: %s", len(names), reason), d.t.Warn)
		d.styled("    ", strings.Join(slices.Compact(names), ", "), d.t.Plain)
	}
	d.styled("  ", "By IAM's policy simulator, which knows the policies of the caller, its boundary and the organization's SCPs, not those of resources, sessions and endpoints, nor RCPs.", d.t.Dim)
	for _, p := range all.in(incident.PermissionAllowed) {
		d.line(d.t.Good.Render(d.t.sign("✓", "v")) + " " + clean(p.Action))
	}
}
