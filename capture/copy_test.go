package capture_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/cordon-ir/cordon/capture"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

const (
	copying         = "capture.copy-snapshots"
	evidenceAccount = "444455556666"   // of the scenario
	evidenceKey     = "alias/evidence" // there
	sharedKey       = "alias/shared"   // in the instance's account; the evidence account may use it
)

// key makes a customer managed key and returns its ARN.
func (b *bench) key() string {
	b.t.Helper()
	out, err := kms.NewFromConfig(b.account.Config(b.target.Region)).CreateKey(b.t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		b.t.Fatal(err)
	}
	return aws.ToString(out.KeyMetadata.Arn)
}

func (b *bench) disable(key string) {
	b.t.Helper()
	if _, err := kms.NewFromConfig(b.account.Config(b.target.Region)).DisableKey(b.t.Context(), &kms.DisableKeyInput{KeyId: &key}); err != nil {
		b.t.Fatal(err)
	}
}

// taken are the snapshots of the step before.
func (b *bench) taken() []string {
	b.t.Helper()
	r, _ := b.run("capture.snapshots", false, nil)
	return r.Outputs["snapshots"].([]string)
}

// made are the copies that are not in error, whoever knows of them.
func (b *bench) made() []types.Snapshot {
	b.t.Helper()
	if err := b.account.Clock().Sleep(b.t.Context(), time.Minute); err != nil { // past the tag index's delay
		b.t.Fatal(err)
	}
	out, err := b.ec2().DescribeSnapshots(b.t.Context(), &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, Filters: []types.Filter{{Name: aws.String("tag:cordon:step"), Values: []string{copying}}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return slices.DeleteFunc(out.Snapshots, func(s types.Snapshot) bool { return s.State == types.SnapshotStateError })
}

func (b *bench) sharedWith(id string) (accounts []string) {
	b.t.Helper()
	out, err := b.ec2().DescribeSnapshotAttribute(b.t.Context(), &ec2.DescribeSnapshotAttributeInput{
		SnapshotId: &id, Attribute: types.SnapshotAttributeNameCreateVolumePermission,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, p := range out.CreateVolumePermissions {
		accounts = append(accounts, aws.ToString(p.UserId))
	}
	return accounts
}

func TestCopiesAreUnderTheKeyLockedAndRecorded(t *testing.T) {
	b := newBench(t)
	from, key := b.taken(), b.key()
	r, v := b.run(copying, false, map[string]any{"snapshots": from, "kms_key": key, "lock_days": 7})
	copies := r.Outputs["copies"].([]string)
	if len(copies) != 2 || len(v.Observed) != 2 || !strings.Contains(v.Observed[0], "governance") {
		t.Fatalf("copies %q, observed %q", copies, v.Observed)
	}
	for i, id := range copies {
		it := b.item("snapshot-" + id)
		if it.Kind != evidence.KindSnapshot || it.Source != from[i] || it.Mode != "governance" || it.RetainUntil.IsZero() || !strings.Contains(it.Notes[0], key) {
			t.Errorf("item %+v", it)
		}
		if _, err := b.ec2().DeleteSnapshot(t.Context(), &ec2.DeleteSnapshotInput{SnapshotId: &id}); err == nil {
			t.Errorf("%s could be deleted", id)
		}
		if shared := b.sharedWith(from[i]); len(shared) != 0 {
			t.Errorf("%s is shared with %q, where the copy is in its own account", from[i], shared)
		}
	}
	for _, s := range b.made() {
		if aws.ToString(s.KmsKeyId) != key || s.State != types.SnapshotStateCompleted {
			t.Errorf("%+v", s)
		}
	}
}

func TestOneCopyOfEachWhateverIsLost(t *testing.T) {
	for name, f := range map[string]rehearsal.Fault{
		"the first answer to CopySnapshot":  {Operation: "ec2:CopySnapshot", Kind: "lost", Count: 1},
		"the second answer to CopySnapshot": {Operation: "ec2:CopySnapshot", Kind: "lost", Skip: 1, Count: 1},
		"the answer to a lock":              {Operation: "ec2:LockSnapshot", Kind: "lost", Count: 1},
		"throttled":                         {Operation: "ec2:CopySnapshot", Kind: "throttle", Count: 2},
		"too many copies at once":           {Operation: "ec2:CopySnapshot", Kind: "error", Code: "ResourceLimitExceeded", Count: 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			with := map[string]any{"snapshots": b.taken(), "kms_key": b.key()}
			b.inject(f)
			first, _ := b.run(copying, false, with)
			second, _ := b.run(copying, true, with)
			if string(first.Applied) != string(second.Applied) {
				t.Errorf("first %s, then %s", first.Applied, second.Applied)
			}
			if made := b.made(); len(made) != 2 {
				t.Errorf("copies %+v", made)
			}
			if len(b.custody.Items) != 4 || len(b.custody.Events) != 4 { // the snapshots' own too
				t.Errorf("items %+v, events %+v", b.custody.Items, b.custody.Events)
			}
		})
	}
}

// The process dies after each of its requests in turn: a later one finds what there is.
func TestAResumedCopyFindsItsCopiesWhereverItWasKilled(t *testing.T) {
	for _, operation := range []string{"ec2:CopySnapshot", "ec2:LockSnapshot", "ec2:DescribeLockedSnapshots"} {
		for skip := range 2 {
			b := newBench(t)
			with := map[string]any{"snapshots": b.taken(), "kms_key": b.key()}
			p, err := b.plan(copying, with)
			if err != nil {
				t.Fatal(err)
			}
			ctx, kill := context.WithCancel(t.Context())
			b.config = func(cfg aws.Config) aws.Config {
				return answering(cfg, strings.TrimPrefix(operation, "ec2:"), func(any) {
					if skip--; skip < 0 {
						kill()
					}
				})
			}
			_, err = b.action(copying).Apply(ctx, b.request(copying, false, with), p)
			if kill(); err == nil && operation == "ec2:CopySnapshot" {
				t.Fatal("it went on though killed")
			}
			b.config = func(cfg aws.Config) aws.Config { return cfg }
			delete(b.entries, copying) // what was recorded is not needed
			b.run(copying, true, with)
			if made := b.made(); len(made) != 2 {
				t.Errorf("killed after %s: copies %+v", operation, made)
			}
		}
	}
}

func TestACopyThatEndsInErrorNamesKeyAndSnapshot(t *testing.T) {
	b := newBench(t)
	from, key := b.taken(), b.key()
	with := map[string]any{"snapshots": from, "kms_key": key}
	p, err := b.plan(copying, with)
	if err != nil {
		t.Fatal(err)
	}
	b.disable(key) // after the plan: CopySnapshot itself does not refuse it
	_, err = b.action(copying).Apply(t.Context(), b.request(copying, false, with), p)
	var hint *incident.HintError
	if !errors.As(err, &hint) || !strings.Contains(err.Error(), "of "+from[0]+" under "+key) && !strings.Contains(err.Error(), "of "+from[1]+" under "+key) || !strings.Contains(err.Error(), "not accessible") {
		t.Fatalf("got %v", err)
	}
	if n := len(b.custody.Items); n != 2 {
		t.Errorf("a copy in error counts as evidence: %d items", n)
	}
	if _, err := kms.NewFromConfig(b.account.Config(b.target.Region)).EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &key}); err != nil {
		t.Fatal(err)
	}
	b.run(copying, false, with)
	if made := b.made(); len(made) != 2 {
		t.Errorf("copies %+v", made)
	}
}

func TestAKeyThatCannotBeUsedIsFoundBeforeAnythingIsCopied(t *testing.T) {
	b := newBench(t)
	disabled := b.key()
	b.disable(disabled)
	for key, want := range map[string]string{
		"":              "none given",
		"alias/nowhere": "alias/nowhere",
		disabled:        "not enabled",
		b.managedKey():  "AWS managed",
	} {
		if _, err := b.plan(copying, map[string]any{"kms_key": key}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", key, err)
		}
	}
	if _, err := b.plan(copying, map[string]any{"kms_key": b.key(), "account": "evidence", "lock_days": 0}); err == nil ||
		!strings.Contains(err.Error(), "twelve digits") || !strings.Contains(err.Error(), "lock_days") {
		t.Errorf("got %v", err)
	}
}

// managedKey is aws/ebs's own, which is made when something is first encrypted with it.
func (b *bench) managedKey() string {
	b.t.Helper()
	return aws.ToString(b.underManagedKey().KmsKeyId)
}

// underManagedKey is a snapshot that can't be shared.
func (b *bench) underManagedKey() types.Snapshot {
	b.t.Helper()
	vol, err := b.ec2().CreateVolume(b.t.Context(), &ec2.CreateVolumeInput{
		AvailabilityZone: aws.String(b.target.Region + "a"), Size: aws.Int32(1), Encrypted: aws.Bool(true),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	snap, err := b.ec2().CreateSnapshot(b.t.Context(), &ec2.CreateSnapshotInput{VolumeId: vol.VolumeId})
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := b.ec2().DescribeSnapshots(b.t.Context(), &ec2.DescribeSnapshotsInput{SnapshotIds: []string{*snap.SnapshotId}})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Snapshots[0]
}

// elsewhere are the snapshots that the evidence account has.
func (b *bench) elsewhere() []types.Snapshot {
	b.t.Helper()
	out, err := ec2.NewFromConfig(b.account.ConfigIn(evidenceAccount, b.target.Region)).DescribeSnapshots(b.t.Context(), &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Snapshots
}

// The root volume is not encrypted; the data volume is, under a key of the account alone, and
// the third snapshot under AWS's own.
func TestIntoAnotherAccountWhatCannotBeSharedIsCopiedFirst(t *testing.T) {
	b := newBench(t)
	plain, hidden := b.taken(), b.underManagedKey()
	from := append(plain, aws.ToString(hidden.SnapshotId))
	with := map[string]any{"snapshots": from, "kms_key": evidenceKey, "account": evidenceAccount}

	for i, id := range from[1:] {
		var refused *incident.RefusedError
		with["snapshots"] = []string{from[0], id}
		if _, err := b.plan(copying, with); !errors.As(err, &refused) || !strings.Contains(err.Error(), id) {
			t.Fatalf("without a key to go through, snapshot %d: %v", i+1, err)
		}
	}
	with["snapshots"], with["through_key"] = from, b.key()
	if _, err := b.plan(copying, with); err == nil || !strings.Contains(err.Error(), "through_key") || !strings.Contains(err.Error(), "may not use") {
		t.Fatalf("through a key that the other account may not use: %v", err)
	}
	with["through_key"] = sharedKey
	r, _ := b.run(copying, false, with)
	again, _ := b.run(copying, true, with)
	if string(r.Applied) != string(again.Applied) {
		t.Errorf("first %s, then %s", r.Applied, again.Applied)
	}
	var middle []string
	for _, s := range b.made() {
		middle = append(middle, aws.ToString(s.SnapshotId))
	}
	if len(middle) != 2 {
		t.Fatalf("%q were made to go through, want one of each that can't be shared", middle)
	}
	for id, want := range map[string]int{from[0]: 1, from[1]: 0, from[2]: 0, middle[0]: 1, middle[1]: 1} {
		if got := b.sharedWith(id); len(got) != want || want == 1 && got[0] != evidenceAccount {
			t.Errorf("%s is shared with %q", id, got)
		}
	}
	copies := r.Outputs["copies"].([]string)
	if there := b.elsewhere(); len(there) != 3 {
		t.Fatalf("the evidence account has %d snapshots", len(there))
	}
	for i, id := range copies {
		it := b.item("snapshot-" + id)
		if it.Source != from[i] || it.Account != evidenceAccount || it.Mode != "governance" {
			t.Errorf("item %+v", it)
		}
		if _, err := b.ec2().DeleteSnapshot(t.Context(), &ec2.DeleteSnapshotInput{SnapshotId: &id}); err == nil {
			t.Errorf("the instance's account could delete %s", id)
		}
	}
	if last := b.item("snapshot-" + copies[2]); !strings.Contains(strings.Join(last.Notes, "\n"), middle[0]) && !strings.Contains(strings.Join(last.Notes, "\n"), middle[1]) {
		t.Errorf("item %+v", last)
	}
}

// The process dies after each request that makes something: in the other account, too, a later one finds what there is.
func TestAResumedCopyIntoAnotherAccountMakesNothingTwice(t *testing.T) {
	for operation, answers := range map[string]int{"CopySnapshot": 2, "ModifySnapshotAttribute": 1, "LockSnapshot": 1} { // the SDK presigns a copy first
		b := newBench(t)
		with := map[string]any{"snapshots": b.taken(), "kms_key": evidenceKey, "account": evidenceAccount, "through_key": sharedKey}
		p, err := b.plan(copying, with)
		if err != nil {
			t.Fatal(err)
		}
		for tries := 0; ; tries++ {
			ctx, kill := context.WithCancel(t.Context())
			left := answers * (tries + 1) // what is the same however often it is done is done again
			b.config = func(cfg aws.Config) aws.Config {
				return answering(cfg, operation, func(any) {
					if left--; left == 0 {
						kill()
					}
				})
			}
			_, err := b.action(copying).Apply(ctx, b.request(copying, tries > 0, with), p)
			kill()
			if err == nil {
				break
			}
			if tries > 10 {
				t.Fatalf("killed after each %s in turn it never ends: %v", operation, err)
			}
		}
		if made, there := b.made(), b.elsewhere(); len(made) != 1 || len(there) != 2 {
			t.Errorf("killed after each %s: %d to go through, %d copies", operation, len(made), len(there))
		}
	}
}

func TestEachAccountIsAskedWithItsOwnConfiguration(t *testing.T) {
	b := newBench(t)
	from := b.taken()[:1]
	copiers := make(map[string]int) // the SDK presigns each copy with the same configuration
	actions := capture.Actions(func(_ context.Context, target incident.Target) (aws.Config, error) {
		return answering(atOnce(b.account.ConfigIn(target.Account, target.Region)), "CopySnapshot", func(any) { copiers[target.Account]++ }), nil
	}, nil)
	at := slices.IndexFunc(actions, func(a incident.Action) bool { return a.Spec().Name == copying })
	with := map[string]any{"snapshots": from, "kms_key": evidenceKey, "account": evidenceAccount}
	p, err := actions[at].Plan(t.Context(), b.request(copying, false, with))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := actions[at].Apply(t.Context(), b.request(copying, false, with), p); err != nil {
		t.Fatal(err)
	}
	if len(copiers) != 1 || copiers[evidenceAccount] == 0 {
		t.Errorf("copied by %v", copiers)
	}
}
