package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

// run does what the command run does, and gives what it reports: exit code and
// standard error.
func (o *world) run(playbook string, set ...string) (int, string) {
	o.t.Helper()
	return o.holding(func(w *workspace, j *journal.Journal) error {
		return w.startRun(o.t.Context(), j, playbook, runOptions{planOptions: planOptions{
			caseID: "INC-1", selection: selection{instances: []string{o.account.Alert().Instance}}, set: set,
		}})
	})
}

// holding does what a command does that holds the case, with a standard error of its own.
func (o *world) holding(do func(*workspace, *journal.Journal) error) (int, string) {
	o.t.Helper()
	var stderr bytes.Buffer
	g := *o.w.g
	g.err = &stderr
	w := *o.w
	w.g = &g
	j, err := w.hold(o.t.Context(), "INC-1")
	o.must(err)
	err = do(&w, j)
	code := g.report(errors.Join(err, j.Close()))
	return code, stderr.String()
}

// entries counts the journal's entries by type.
func (o *world) entries() map[incident.EntryType]int {
	o.t.Helper()
	r, err := o.w.read(o.t.Context(), "INC-1")
	o.must(err)
	n := make(map[incident.EntryType]int)
	for _, e := range r.entries {
		n[e.Type]++
	}
	return n
}

// refusedUntouched checks that a run was refused with this code, in these
// words, with a hint, and that nothing was changed.
func (o *world) refusedUntouched(code int, playbook string, words ...string) {
	o.t.Helper()
	before := o.exact()
	got, text := o.run(playbook)
	if got != code || !strings.Contains(text, "hint: ") {
		o.t.Errorf("exit code %d, want %d\n%s", got, code, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			o.t.Errorf("%q is not said:\n%s", w, text)
		}
	}
	if n := o.entries(); n[incident.EntryCallIntent] > 0 || n[incident.EntryStepIntent] > 0 || n[incident.EntryRunRefused] != 1 {
		o.t.Errorf("journaled %v", n)
	}
	if now := o.exact(); before.difference(now) != "" {
		o.t.Error(before.difference(now))
	}
}

func TestExpiredCredentialsAreSaidAndNothingIsChanged(t *testing.T) {
	o := newWorld(t)
	before := o.exact()
	o.must(o.account.SetCredentials("expired"))
	code, text := o.run("contain")
	if code != exitFailed || !strings.Contains(text, "expired") || !strings.Contains(text, "hint: ") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	o.must(o.account.SetCredentials("ok"))
	if now := o.exact(); before.difference(now) != "" {
		t.Error(before.difference(now))
	}
}

func TestAMissingPermissionToReadIsNamed(t *testing.T) {
	o := newWorld(t)
	o.must(o.account.Deny("autoscaling:DescribeAutoScalingInstances"))
	code, text := o.run("contain")
	if code != exitFailed || !strings.Contains(text, "autoscaling:DescribeAutoScalingInstances") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	if n := o.entries(); n[incident.EntryCallIntent] > 0 {
		t.Errorf("journaled %v", n)
	}
}

func TestAPermissionMissingHalfwayLeavesARunToResumeOrRelease(t *testing.T) {
	o := newWorld(t)
	before := o.exact()
	o.must(o.account.Inject(rehearsal.Fault{Operation: "iam:PutRolePolicy", Kind: "error", Code: "AccessDenied", Count: 1}))
	code, text := o.run("contain")
	if code != exitIncomplete || !strings.Contains(text, "resume") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	o.verify()
	o.must(o.live(undisturbed(), "contain"))
	o.must(o.live(undisturbed(), "release"))
	if now := o.exact(); before.difference(now) != "" {
		t.Error(before.difference(now))
	}
}

// A bucket without Object Lock can be emptied: it keeps no evidence, unless told otherwise.
func TestFullResponseRefusesABucketWithoutLock(t *testing.T) {
	o := newWorld(t)
	client := s3.NewFromConfig(o.account.Config(o.account.Alert().Region))
	_, err := client.CreateBucket(context.Background(), &s3.CreateBucketInput{
		Bucket:                    aws.String("unlocked"),
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(o.account.Alert().Region)},
	})
	o.must(err)
	o.w.config.Evidence.Bucket = "unlocked"
	o.refusedUntouched(exitUsage, "full-response", "Object Lock", "unlocked", "allow_unlocked")
	if code, text := o.run("full-response", "allow_unlocked=true", "export=false"); code != exitDone {
		t.Errorf("exit code %d\n%s", code, text)
	}
}

func TestASucceededRunWhoseJournalDoesNotVerifyIsNoSuccess(t *testing.T) {
	o := newWorld(t)
	o.must(o.live(undisturbed(), "contain"))
	j, err := o.w.hold(t.Context(), "INC-1")
	o.must(err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- j.Serve(ctx, journal.Handler{}) }()
	o.must(os.WriteFile(filepath.Join(j.Dir(), journal.CheckpointFile), []byte("forged"), 0o600))

	x := &execution{w: o.w, j: j, run: "r1"}
	err = x.conclude(t.Context(), incident.OutcomeSucceeded, nil, newDisplay(o.w.g, j, x.plan, o.w.clock))
	if code := exitCode(err); code != exitVerify {
		t.Errorf("exit code %d: %v", code, err)
	}
	stop()
	o.must(errors.Join(<-served, j.Close()))
}
