package rehearsal

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/ebs/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// writing is a snapshot of 1 GiB that blocks can be written to.
type writing struct {
	t      *testing.T
	a      *Account
	client *ebs.Client
	id     *string
}

func startWriting(t *testing.T) *writing {
	t.Helper()
	w := &writing{t: t, a: emptyAccount(t, func(*world) {})}
	w.client = ebs.NewFromConfig(w.a.Config("eu-central-1"))
	for range 2 { // the same token gives the same snapshot
		out, err := w.client.StartSnapshot(t.Context(), &ebs.StartSnapshotInput{VolumeSize: aws.Int64(1), ClientToken: aws.String("once"), Timeout: aws.Int32(10)})
		if err != nil {
			t.Fatal(err)
		}
		if w.id != nil && *out.SnapshotId != *w.id {
			t.Fatalf("%s, then %s", *w.id, *out.SnapshotId)
		}
		w.id = out.SnapshotId
	}
	return w
}

func block(fill byte) []byte { return bytes.Repeat([]byte{fill}, diskBlockSize) }

func (w *writing) put(index int32, data []byte, sum [sha256.Size]byte) error {
	_, err := w.client.PutSnapshotBlock(w.t.Context(), &ebs.PutSnapshotBlockInput{
		SnapshotId: w.id, BlockIndex: &index, BlockData: bytes.NewReader(data), DataLength: aws.Int32(int32(len(data))),
		Checksum: aws.String(base64.StdEncoding.EncodeToString(sum[:])), ChecksumAlgorithm: types.ChecksumAlgorithmChecksumAlgorithmSha256,
	})
	return err
}

func (w *writing) complete(count int32, sums ...[sha256.Size]byte) error {
	all := sha256.New()
	for _, s := range sums {
		all.Write(s[:])
	}
	_, err := w.client.CompleteSnapshot(w.t.Context(), &ebs.CompleteSnapshotInput{
		SnapshotId: w.id, ChangedBlocksCount: &count, Checksum: aws.String(base64.StdEncoding.EncodeToString(all.Sum(nil))),
		ChecksumAlgorithm: types.ChecksumAlgorithmChecksumAlgorithmSha256, ChecksumAggregationMethod: types.ChecksumAggregationMethodChecksumAggregationLinear,
	})
	return err
}

func (w *writing) state() ec2types.SnapshotState {
	w.t.Helper()
	out, err := ec2.NewFromConfig(w.a.Config("eu-central-1")).DescribeSnapshots(w.t.Context(), &ec2.DescribeSnapshotsInput{SnapshotIds: []string{*w.id}})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Snapshots[0].State
}

func (w *writing) wait(d time.Duration) {
	w.t.Helper()
	if err := w.a.Clock().Sleep(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
}

func TestASnapshotIsWrittenBlockByBlock(t *testing.T) {
	w := startWriting(t)
	one, two := block(1), block(2)
	for _, step := range []struct {
		index int32
		data  []byte
	}{{9, one}, {3, two}, {9, two}, {9, one}} { // a block is overwritten, and out of order
		if err := w.put(step.index, step.data, sha256.Sum256(step.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.complete(2, sha256.Sum256(two), sha256.Sum256(one)); err != nil {
		t.Fatal(err)
	}
	w.wait(time.Minute)
	if s := w.state(); s != ec2types.SnapshotStateCompleted {
		t.Fatalf("it is %s", s)
	}
	tokens, _, _ := listBlocks(t, w.client, *w.id)
	if len(tokens) != 2 || tokens[3] == "" || tokens[9] == "" {
		t.Errorf("blocks %v", tokens)
	}
}

func TestWhatIsNotAsItSaysIsNotWritten(t *testing.T) {
	one := block(1)
	sum := sha256.Sum256(one)
	for name, do := range map[string]func(*writing) error{
		"another checksum":          func(w *writing) error { return w.put(0, one, sha256.Sum256(block(2))) },
		"half a block":              func(w *writing) error { return w.put(0, one[:diskBlockSize/2], sha256.Sum256(one[:diskBlockSize/2])) },
		"a block behind the end":    func(w *writing) error { return w.put(2048, one, sum) },
		"another number of blocks":  func(w *writing) error { return errors.Join(w.put(0, one, sum), w.complete(2, sum)) },
		"another checksum of all":   func(w *writing) error { return errors.Join(w.put(0, one, sum), w.complete(1, sha256.Sum256(nil))) },
		"a block after it is ended": func(w *writing) error { return errors.Join(w.put(0, one, sum), w.complete(1, sum), w.put(1, one, sum)) },
	} {
		t.Run(name, func(t *testing.T) {
			var invalid *types.ValidationException
			if err := do(startWriting(t)); !errors.As(err, &invalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestASnapshotThatNobodyWritesToIsGivenUp(t *testing.T) {
	w := startWriting(t)
	w.wait(9 * time.Minute)
	if err := w.put(0, block(1), sha256.Sum256(block(1))); err != nil {
		t.Fatal(err)
	}
	w.wait(9 * time.Minute)
	if s := w.state(); s != ec2types.SnapshotStatePending {
		t.Errorf("it is %s", s)
	}
	w.wait(2 * time.Minute)
	if s := w.state(); s != ec2types.SnapshotStateError {
		t.Errorf("it is %s", s)
	}
}
