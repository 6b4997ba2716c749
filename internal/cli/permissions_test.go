package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/internal/config"
	"github.com/cordon-ir/cordon/internal/incident"
)

// planned is what the command plan prints, and the code that it ends with.
func (o *world) planned(output, playbook string, options planOptions) (string, int) {
	o.t.Helper()
	var stdout, stderr bytes.Buffer
	g := *o.w.g
	g.out, g.err, g.output = &stdout, &stderr, output
	w := *o.w
	w.g = &g
	options.caseID, options.instances = "INC-1", []string{o.account.Alert().Instance}
	code := g.report(w.showPlan(o.t.Context(), playbook, options))
	return stdout.String() + stderr.String(), code
}

// permissions are those of a plan, by action, where it is the target's account.
func (o *world) permissions(playbook string, options planOptions) map[string]incident.Permission {
	o.t.Helper()
	text, code := o.planned("json", playbook, options)
	var plan shownPlan
	if err := json.Unmarshal([]byte(text), &plan); err != nil || code != exitDone {
		o.t.Fatalf("exit code %d, %v\n%s", code, err, text)
	}
	all := make(map[string]incident.Permission)
	for _, p := range plan.Permissions {
		if p.Account == o.account.Alert().Account {
			all[p.Action] = p
		}
	}
	return all
}

func TestThePlanAndTheRunAgreeOnWhatIsMissing(t *testing.T) {
	const missing = "iam:PutRolePolicy"
	o := newWorld(t)
	for action, p := range o.permissions("contain", planOptions{}) {
		if p.State != incident.PermissionAllowed || len(p.Steps) == 0 {
			t.Errorf("%s, before anything is denied: %+v", action, p)
		}
	}
	o.must(o.account.Deny(missing))
	var needing []string
	for action, p := range o.permissions("contain", planOptions{}) {
		if (p.State == incident.PermissionDenied) != (action == missing) {
			t.Errorf("%s: %+v", action, p)
		}
		if action == missing {
			needing = p.Steps
		}
	}
	text, code := o.planned("text", "contain", planOptions{})
	if code != exitDone || !strings.Contains(text, ", 1 missing, 0 not known") || !strings.Contains(text, "✗ missing: "+missing) {
		t.Errorf("exit code %d\n%s", code, text)
	}

	if code, text := o.run("contain"); code != exitIncomplete {
		t.Errorf("the run: exit code %d\n%s", code, text)
	}
	r, err := o.w.read(t.Context(), "INC-1")
	o.must(err)
	failed := 0
	for key, s := range r.state.Runs[0].Steps {
		if s.State != incident.Failed {
			continue
		}
		failed++
		if !slices.Contains(needing, key.ID) || !strings.Contains(s.Outcome.Error, missing) {
			t.Errorf("%s failed: %s; the plan named %q", key, s.Outcome.Error, needing)
		}
	}
	if failed == 0 {
		t.Error("no step failed")
	}
}

func TestAPlanStandsForWhoMayNotAskForPermissions(t *testing.T) {
	o := newWorld(t)
	o.must(o.account.Deny("iam:SimulatePrincipalPolicy"))
	text, code := o.planned("text", "contain", planOptions{})
	if code != exitDone || !strings.Contains(text, "not known: not allowed to ask (iam:SimulatePrincipalPolicy)") || strings.Contains(text, "✗") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	text, code = o.planned("text", "contain", planOptions{permit: true})
	if code != exitNotReady || !strings.Contains(text, "hint: ") {
		t.Errorf("required: exit code %d\n%s", code, text)
	}
}

func TestARunThatRequiresPermissionsChangesNothingWithoutThem(t *testing.T) {
	o := newWorld(t)
	o.must(o.account.Deny("ec2:ModifyNetworkInterfaceAttribute"))
	before := o.exact()
	j, err := o.w.hold(t.Context(), "INC-1")
	o.must(err)
	err = o.w.startRun(t.Context(), j, "contain", runOptions{planOptions: planOptions{
		caseID: "INC-1", selection: selection{instances: []string{o.account.Alert().Instance}}, permit: true,
	}})
	o.must(j.Close())
	if !errors.Is(err, errNotReady) || exitCode(err) != exitNotReady || !strings.Contains(err.Error(), "ec2:ModifyNetworkInterfaceAttribute in account") {
		t.Errorf("%v", err)
	}
	if n := o.entries(); n[incident.EntryCallIntent] > 0 || n[incident.EntryRunRefused] != 1 {
		t.Errorf("journaled %v", n)
	}
	if now := o.exact(); before.difference(now) != "" {
		t.Error(before.difference(now))
	}
}

// The evidence account's own role is asked there.
func TestPermissionsAreAskedWhereTheStepActs(t *testing.T) {
	o := newWorld(t)
	options := planOptions{set: []string{"copy_account=444455556666", "copy_kms_key=alias/evidence", "copy_through_key=alias/shared"}}
	options.skip = []string{"export"}
	o.w.config.Accounts = map[string]config.Account{"444455556666": {Role: "arn:aws:iam::444455556666:role/cordon"}}
	text, code := o.planned("json", "capture", options)
	var plan shownPlan
	if err := json.Unmarshal([]byte(text), &plan); err != nil || code != exitDone {
		t.Fatalf("exit code %d, %v\n%s", code, err, text)
	}
	there := 0
	for _, p := range plan.Permissions {
		if p.Account != "444455556666" {
			continue
		}
		there++
		if p.State != incident.PermissionAllowed || !slices.Equal(p.Steps, []string{"copy"}) {
			t.Errorf("%+v", p)
		}
	}
	if there == 0 {
		t.Error("nothing was asked in the other account")
	}
}
