package isolate

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/isolate/reach"
)

// drawLinks draws a playbook that the engine would accept for the world.
func (w *world) drawLinks() []link {
	t := w.draw
	yes := func(what string) bool { return rapid.Bool().Draw(t, what) }
	var links []link
	if yes("protect") {
		links = append(links, link{"isolate.protect", nil})
	}
	left := !w.grouped || yes("leave the group")
	if w.grouped && left {
		strategy := rapid.SampledFrom([]string{strategyReplace, strategyShrink, strategyStandby}).Draw(t, "strategy")
		links = append(links, link{"isolate.autoscaling", map[string]any{"strategy": strategy}})
	}
	if left && yes("deregister") {
		links = append(links, link{"isolate.loadbalancers", map[string]any{"wait": yes("wait")}})
	}
	if yes("deny") {
		links = append(links, link{"isolate.credentials", map[string]any{"scope": rapid.SampledFrom([]string{scopeInstance, scopeRole}).Draw(t, "scope")}})
	}
	if left && yes("cut") {
		links = append(links, link{"isolate.network", w.drawCut()})
	}
	return links
}

// drawCut draws the inputs of isolate.network: measures by name or auto, the
// attackers' addresses, who may still connect.
func (w *world) drawCut() map[string]any {
	some := func(what string, of ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, 2, rapid.ID).Draw(w.draw, what)
	}
	in := map[string]any{"allow": some("allow", "10.20.1.7/32:22", "198.51.100.0/24:443", "10.50.7.9/32:22")}
	if rapid.Bool().Draw(w.draw, "attackers") {
		in["attackers"] = []string{"203.0.113.66"}
	}
	named := some("strategy", string(reach.Timeouts), string(reach.Addresses), string(reach.EdgeACL), string(reach.SubnetACL), string(reach.RemoteACL))
	if len(named) > 0 && (in["attackers"] == nil) != slices.Contains(named, string(reach.RemoteACL)) {
		in["strategy"] = named
	}
	return in
}

// fail arms what goes wrong next: the run dies at a change, or AWS throttles, refuses, or
// does it and loses its answer.
func (w *world) fail() {
	t := w.draw
	w.crashAt(0, false)
	switch kind := rapid.SampledFrom([]string{"nothing", "killed", "throttle", "lost", "error"}).Draw(t, "failure"); kind {
	case "nothing":
	case "killed":
		w.crashAt(rapid.IntRange(1, 8).Draw(t, "at change"), rapid.Bool().Draw(t, "after it"))
	default:
		f := rehearsal.Fault{
			Operation: rapid.SampledFrom([]string{
				"*", "ec2:ModifyNetworkInterfaceAttribute", "ec2:CreateNetworkAclEntry", "ec2:DeleteNetworkAclEntry", "ec2:DisassociateAddress", "ec2:AssociateAddress",
				"ec2:UnassignIpv6Addresses", "ec2:AssignIpv6Addresses", "ec2:CreateSecurityGroup", "iam:PutRolePolicy", "ec2:DisassociateIamInstanceProfile",
				"autoscaling:DetachInstances", "autoscaling:AttachInstances", "elasticloadbalancing:DeregisterTargets", "ec2:ModifyInstanceAttribute",
			}).Draw(t, "operation"),
			Kind: kind, Skip: rapid.IntRange(0, 6).Draw(t, "after calls"), Count: rapid.IntRange(1, 2).Draw(t, "times"),
		}
		if kind == "error" {
			f.Code = rapid.SampledFrom([]string{"InternalError", "UnauthorizedOperation"}).Draw(t, "code")
		}
		if err := w.acct.Inject(f); err != nil {
			t.Fatalf("%v", err)
		}
	}
}

// mend: nothing goes wrong any more.
func (w *world) mend() {
	w.crashAt(0, false)
	if err := w.acct.Mend(); err != nil {
		w.t.Fatalf("%v", err)
	}
}

// isolate runs the steps, each of which may fail and be tried again, or be left as it
// is. It returns those that have begun, and whether all of them came to their end.
func (w *world) isolate(links []link) (begun []*step, whole bool) {
	w.t.Helper()
	var steps []*step
	for _, l := range links {
		st, err := w.plan(l.action, l.inputs)
		if _, refused := errors.AsType[*incident.RefusedError](err); refused {
			continue // by the numbers: the group's minimum, the role's policies
		}
		if err != nil {
			w.t.Fatalf("plan %s: %v", l.action, err)
		}
		steps = append(steps, st)
	}
	whole = true
	for _, st := range steps {
		w.fail()
		begun = append(begun, st)
		err := w.start(st)
		for tries := 0; err != nil; tries++ {
			if rapid.IntRange(0, 3).Draw(w.draw, "given up") == 0 {
				w.mend()
				return begun, false
			}
			if tries > 5 {
				w.t.Fatalf("%s: still after %d tries: %v", st.name, tries, err)
			}
			if tries > 1 {
				w.mend()
			}
			if st.state == incident.Pending { // it died while the before-state was read once more
				err = w.start(st)
			} else {
				err = w.try(st, true)
			}
		}
		w.mend()
	}
	return begun, whole
}

// release undoes the steps, the last one first; each may fail and is tried again.
func (w *world) release(steps []*step) {
	w.t.Helper()
	for _, st := range slices.Backward(steps) {
		w.fail()
		err := w.undo(st, false)
		for tries := 0; err != nil; tries++ {
			if tries > 5 {
				w.t.Fatalf("undo %s: still after %d tries: %v", st.name, tries, err)
			}
			if tries > 1 {
				w.mend()
			}
			err = w.undo(st, false)
		}
		w.mend()
	}
}

// again isolates what is isolated: it finds nothing to change, and changes nothing.
func (w *world) again(links []link) {
	w.t.Helper()
	isolated := w.snapshot()
	for _, l := range links {
		if l.action == "isolate.credentials" && l.inputs["scope"] == scopeRole {
			continue // it revokes what was issued since, too
		}
		st, err := w.plan(l.action, l.inputs)
		if _, refused := errors.AsType[*incident.RefusedError](err); refused {
			continue
		}
		if err != nil {
			w.t.Fatalf("plan %s again: %v", l.action, err)
		}
		if len(st.proposal.Changes) > 0 {
			w.t.Errorf("%s again would change %+v", l.action, st.proposal.Changes)
		}
		if err := w.start(st); err != nil {
			w.t.Fatalf("%s again: %v", l.action, err)
		}
	}
	w.same(isolated, w.snapshot(), "after the second isolation")
}

// Whatever the account looks like and whatever goes wrong, what is isolated twice is
// isolated once, and what was isolated, or half isolated, comes back as AWS described it before.
func TestAnyWorldComesBackAfterAnyFailure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		before := w.snapshot()
		links := w.drawLinks()
		steps, whole := w.isolate(links)
		if whole && rapid.Bool().Draw(t, "isolated again") {
			w.again(links)
		}
		w.release(steps)
		w.same(before, w.snapshot(), "after the release")
	})
}
