package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/internal/incident"
)

// needs are the permissions that a plan's steps need at one place.
type needs struct {
	at     incident.Target // its Instance: the one target there; empty: several, or none
	steps  map[string][]string
	single map[string]bool // of these actions: a step that needs it acts nowhere else
}

// needed are the plan's needs, place by place.
func (e *engine) needed(p incident.Plan) []*needs {
	var all []*needs
	at := make(map[incident.Target]*needs)
	for _, s := range p.Steps {
		spec, ok := e.registry.Spec(s.Action)
		if !ok || s.Skip != "" {
			continue
		}
		places := s.Places()
		for _, place := range places {
			n := at[place]
			if n == nil {
				n = &needs{at: place, steps: make(map[string][]string), single: make(map[string]bool)}
				at[place], all = n, append(all, n)
			}
			for _, action := range spec.Permissions {
				if !slices.Contains(n.steps[action], s.ID) {
					n.steps[action] = append(n.steps[action], s.ID)
				}
				n.single[action] = n.single[action] || len(places) == 1
			}
		}
	}
	for _, n := range all {
		for i, t := range p.Targets {
			if (incident.Target{Account: t.Account, Region: t.Region}) != n.at {
				continue
			}
			n.at.Instance = t.Instance
			if slices.ContainsFunc(p.Targets[i+1:], func(o incident.Target) bool { return o.Account == t.Account && o.Region == t.Region }) {
				n.at.Instance = ""
			}
			break
		}
	}
	return all
}

// permissions asks AWS what of the plan's needs the caller has, in every account and
// Region where its steps act. It fails only where ctx has ended: a plan stands without the answer.
func (w *workspace) permissions(ctx context.Context, e *engine, p incident.Plan) ([]incident.Permission, error) {
	all := e.needed(p)
	answers := make([][]incident.Permission, len(all))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, n := range all {
		group.Go(func() (err error) {
			place := n.at
			answers[i], err = e.access.Permitted(ctx, place, slices.Sorted(maps.Keys(n.steps)), w.config.Evidence.Bucket)
			for j := range answers[i] {
				n.complete(&answers[i][j])
			}
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(answers...), err
}

// complete adds what the place's answer does not know.
func (n *needs) complete(p *incident.Permission) {
	p.Steps = n.steps[p.Action]
	if p.State == incident.PermissionDenied && !n.single[p.Action] {
		p.Reason += "; the step acts in another account or Region too, and may need it only there"
	}
}

// allPermitted is what --require-permissions wants.
func allPermitted(all []incident.Permission) error {
	var missing []string
	for _, p := range all {
		if p.State != incident.PermissionAllowed {
			missing = append(missing, fmt.Sprintf("%s in account %s: %s", p.Action, p.Account, p.Reason))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return incident.WithHint(fmt.Errorf("%w: %d of %d permissions are not known to be there:\n  %s", errNotReady, len(missing), len(all), strings.Join(missing, "\n  ")),
		"have them granted, or leave out --require-permissions: the simulator does not know everything that grants and denies")
}

// errNotReady: something that was required beforehand is not there; nothing was changed.
var errNotReady = errors.New("not ready")

// ofStep are the step's permissions of a state.
func ofStep(all []incident.Permission, s incident.StepPlan, state incident.PermissionState) (some []incident.Permission) {
	for _, p := range all {
		if p.State == state && p.Of(s) {
			some = append(some, p)
		}
	}
	return some
}

// permissionText names a permission that is not there, and why.
func permissionText(p incident.Permission) string {
	return fmt.Sprintf("%s in %s/%s: %s", p.Action, p.Account, p.Region, p.Reason)
}

// printPermissions is the whole in a line or two: how many are missing, and why some are not known.
func printPermissions(out io.Writer, all []incident.Permission) {
	if len(all) == 0 {
		return
	}
	number := make(map[incident.PermissionState]int)
	var why counted
	for _, p := range all {
		number[p.State]++
		if p.State == incident.PermissionUnknown {
			why.add("not known: " + p.Reason)
		}
	}
	sign := "✓"
	switch {
	case number[incident.PermissionDenied] > 0:
		sign = "✗"
	case number[incident.PermissionUnknown] > 0:
		sign = "?"
	}
	fmt.Fprintf(out, "%s permissions: %d needed, %d missing, %d not known", sign, len(all), number[incident.PermissionDenied], number[incident.PermissionUnknown])
	if number[incident.PermissionUnknown] < len(all) {
		fmt.Fprint(out, ", by IAM's policy simulator")
	}
	fmt.Fprintln(out)
	why.write(out, "  ")
}

// printMissing are the step's permissions that are not there, and those of which a condition decides.
func printMissing(out io.Writer, s incident.StepPlan, all []incident.Permission) {
	for _, p := range ofStep(all, s, incident.PermissionDenied) {
		fmt.Fprintf(out, "      ✗ missing: %s\n", permissionText(p))
	}
}
