package versitygw

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/internal/vault"
)

// A journal's checkpoints are put into the bucket, and somebody who may write
// there, but not bypass the lock, tries to be rid of them.
func TestAnchoredCheckpointsSurviveAndVerifyTheJournal(t *testing.T) {
	name := bucket(t, true)
	s := vault.NewS3(product(t), options(name, "COMPLIANCE"), clock.Wall{})
	key, err := journal.LoadKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir, opened := filepath.Join(t.TempDir(), caseID), incident.Case{ID: caseID, PublicKey: key.PublicKey(caseID)}
	j, err := journal.Create(t.Context(), dir, opened, key, clock.Wall{})
	if err != nil {
		t.Fatal(err)
	}
	var signed []incident.Checkpoint
	for range 3 {
		if _, err := j.Append(t.Context(), incident.Draft{Type: incident.EntryNote, Data: incident.Note{Text: "seen"}}); err != nil {
			t.Fatal(err)
		}
		cp, err := j.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		signed = append(signed, cp)
		first := anchor(t, s, opened, cp)
		if again := anchor(t, s, opened, cp); again.Version != first.Version {
			t.Errorf("the same checkpoint twice: %+v and %+v", first, again)
		}
		v := version{name, "team/" + first.Key, first.Version}
		for _, a := range attempts(types.ObjectLockRetentionModeCompliance) {
			if got := code(a.try(t.Context(), client(t, responder), v)); got != "AccessDenied" {
				t.Errorf("%s: got %q", a.name, got)
			}
		}
		hide(t, v)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	anchors, err := evidence.Checkpoints(t.Context(), s, opened)
	if err != nil || len(anchors) != len(signed) {
		t.Fatalf("%d checkpoints are there of %d, error %v", len(anchors), len(signed), err)
	}
	for i, a := range anchors {
		if a.Size != signed[i].Size || a.Note != signed[i].Note {
			t.Errorf("checkpoint %d: signed %+v, read %+v", i, signed[i], a)
		}
	}
	if _, err := journal.Verify(t.Context(), dir, anchors...); err != nil {
		t.Error(err)
	}
}

func anchor(t *testing.T, s *vault.S3, c incident.Case, cp incident.Checkpoint) evidence.Item {
	t.Helper()
	item, err := evidence.PutCheckpoint(t.Context(), s, c, cp, clock.Wall{}.Now())
	if err != nil {
		t.Fatal(err)
	}
	return item
}

// hide puts a forged version and a delete marker on top.
func hide(t *testing.T, v version) {
	t.Helper()
	c := client(t, responder)
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &v.bucket, Key: &v.key, Body: strings.NewReader("forged"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &v.bucket, Key: &v.key}); err != nil {
		t.Fatal(err)
	}
}
