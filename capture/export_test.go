package capture_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/klauspost/compress/zstd"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

// dataSnapshot is a completed snapshot of the instance's smallest volume.
func (b *bench) dataSnapshot() string {
	b.t.Helper()
	r, _ := b.run("capture.snapshots", false, nil)
	ids := r.Outputs["snapshots"].([]string)
	return ids[len(ids)-1]
}

// blocksOf reads the snapshot as AWS gives it, without any of our own code.
func (b *bench) blocksOf(snapshot string) (blocks map[int32][]byte, size int64) {
	b.t.Helper()
	client := ebs.NewFromConfig(b.account.Config(b.target.Region))
	blocks = make(map[int32][]byte)
	pages := ebs.NewListSnapshotBlocksPaginator(client, &ebs.ListSnapshotBlocksInput{SnapshotId: &snapshot})
	for pages.HasMorePages() {
		page, err := pages.NextPage(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		size = aws.ToInt64(page.VolumeSize) << 30
		for _, l := range page.Blocks {
			out, err := client.GetSnapshotBlock(b.t.Context(), &ebs.GetSnapshotBlockInput{SnapshotId: &snapshot, BlockIndex: l.BlockIndex, BlockToken: l.BlockToken})
			if err != nil {
				b.t.Fatal(err)
			}
			if blocks[*l.BlockIndex], err = io.ReadAll(out.BlockData); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	return blocks, size
}

func TestAnExportedDiskIsTheSnapshotByteForByte(t *testing.T) {
	b := newBench(t)
	snapshot := b.dataSnapshot()
	r, v := b.run("capture.export", false, map[string]any{"snapshots": []string{snapshot}})
	if got := r.Outputs["images"].([]string); len(got) != 1 || got[0] != "disk-image-"+snapshot || len(v.Observed) != 2 {
		t.Fatalf("images %q, observed %q", got, v.Observed)
	}
	it := b.item("disk-image-" + snapshot)
	stored := b.bytes(it)
	if sum := sha256.Sum256(stored); hex.EncodeToString(sum[:]) != it.SHA256 || int64(len(stored)) != it.Bytes || it.Kind != evidence.KindDiskImage {
		t.Errorf("stored %d bytes, item %+v", len(stored), it)
	}
	want, size := b.blocksOf(snapshot)
	if len(want) == 0 {
		t.Fatal("the snapshot holds no blocks: nothing is tested")
	}
	raw, err := zstd.NewReader(bytes.NewReader(stored))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	const blockBytes = 512 << 10
	hash, got, zero := sha256.New(), make([]byte, blockBytes), make([]byte, blockBytes)
	for i := range int32(size / blockBytes) {
		if _, err := io.ReadFull(raw, got); err != nil {
			t.Fatalf("block %d: %v", i, err)
		}
		hash.Write(got)
		if block, ok := want[i]; ok && !bytes.Equal(got, block) || !ok && !bytes.Equal(got, zero) {
			t.Fatalf("block %d differs from the snapshot's", i)
		}
	}
	if n, _ := io.Copy(io.Discard, raw); n != 0 {
		t.Errorf("%d bytes too many", n)
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != it.ContentSHA256 || it.ContentBytes != size {
		t.Errorf("the raw disk has %d bytes and sha256 %s, the item says %d and %s", size, sum, it.ContentBytes, it.ContentSHA256)
	}
	b.checkIndex(it, want)
}

// checkIndex: the index names each block that the snapshot holds, with its digest.
func (b *bench) checkIndex(it evidence.Item, want map[int32][]byte) {
	b.t.Helper()
	it.Key, it.Version = strings.TrimSuffix(it.Key, ".raw.zst")+".json", ""
	var index struct {
		Raw, Stored struct{ SHA256 string }
		Blocks      [][]any
	}
	if err := json.Unmarshal(b.bytes(it), &index); err != nil {
		b.t.Fatal(err)
	}
	if index.Raw.SHA256 != it.ContentSHA256 || index.Stored.SHA256 != it.SHA256 || len(index.Blocks) != len(want) {
		b.t.Errorf("index: raw %s, stored %s, %d blocks; want %d", index.Raw.SHA256, index.Stored.SHA256, len(index.Blocks), len(want))
	}
	for _, e := range index.Blocks {
		if sum := sha256.Sum256(want[int32(e[0].(float64))]); e[1] != hex.EncodeToString(sum[:]) {
			b.t.Errorf("block %v: digest %v", e[0], e[1])
		}
	}
}

// spoiled flips a bit of the block with this digest, the first n times it is read.
func spoiled(digest [sha256.Size]byte, n int) func(aws.Config) aws.Config {
	var mu sync.Mutex
	return func(cfg aws.Config) aws.Config {
		return answering(cfg, "GetSnapshotBlock", func(out any) {
			o := out.(*ebs.GetSnapshotBlockOutput)
			data, err := io.ReadAll(o.BlockData)
			if err != nil {
				panic(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if n > 0 && sha256.Sum256(data) == digest {
				data[1000] ^= 1
				n--
			}
			o.BlockData = io.NopCloser(bytes.NewReader(data))
		})
	}
}

func TestASpoiledBlockIsReadAgainAndThenFailsByName(t *testing.T) {
	b := newBench(t)
	snapshot := b.dataSnapshot()
	with := map[string]any{"snapshots": []string{snapshot}}
	if err := b.account.Clock().Sleep(t.Context(), time.Hour); err != nil { // until it is completed
		t.Fatal(err)
	}
	blocks, _ := b.blocksOf(snapshot)
	index := slices.Max(slices.Collect(maps.Keys(blocks)))
	b.config = spoiled(sha256.Sum256(blocks[index]), 1000)
	if err := b.fails("capture.export", false, with); !strings.Contains(err.Error(), fmt.Sprintf("block %d of %s", index, snapshot)) {
		t.Errorf("got %v", err)
	}
	b.config = spoiled(sha256.Sum256(blocks[index]), 1)
	b.run("capture.export", true, with)
	b.checkIndex(b.item("disk-image-"+snapshot), blocks)
}

func TestAnExportLeavesNothingWhenItIsCutAndIsMadeGood(t *testing.T) {
	b := newBench(t)
	snapshot := b.dataSnapshot()
	with := map[string]any{"snapshots": []string{snapshot}}
	b.inject(rehearsal.Fault{Operation: "ebs:GetSnapshotBlock", Kind: "error", Code: "AccessDeniedException", Skip: 5, Count: 1})
	if err := b.fails("capture.export", false, with); !strings.Contains(err.Error(), "block ") {
		t.Errorf("got %v", err)
	}
	key := evidence.Key(b.request("capture.export", false, with).Case, "run-1", "disk-image-"+snapshot+".raw.zst")
	if _, err := b.store.Stat(t.Context(), key, ""); !errors.Is(err, evidence.ErrNotFound) {
		t.Errorf("the cut export left %v", err)
	}
	first, _ := b.run("capture.export", true, with)
	// The index is there: nothing is read again.
	b.inject(rehearsal.Fault{Operation: "ebs:*", Kind: "error", Code: "AccessDeniedException", Count: 1000})
	second, _ := b.run("capture.export", true, with)
	if string(first.Applied) != string(second.Applied) {
		t.Errorf("first %s, then %s", first.Applied, second.Applied)
	}
	if n := len(b.custody.EventsOf("disk-image-" + snapshot)); n != 1 {
		t.Errorf("%d custody events", n)
	}
}

func TestAnIndexThatWasNotStoredIsMadeAgain(t *testing.T) {
	b := newBench(t)
	snapshot := b.dataSnapshot()
	with := map[string]any{"snapshots": []string{snapshot}}
	b.inject(rehearsal.Fault{Operation: "s3:PutObject", Kind: "error", Code: "AccessDenied", Count: 1})
	b.fails("capture.export", false, with)
	b.run("capture.export", true, with)
	objects, err := b.store.List(t.Context(), "rehearsal/INC-1/run-1/disk-image-")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, o := range objects {
		keys = append(keys, o.Key[strings.LastIndex(o.Key, "/")+1:])
	}
	base := "disk-image-" + snapshot
	if !slices.Contains(keys, base+".json") || !slices.Contains(keys, base+".raw.zst") {
		t.Errorf("stored %q", keys)
	}
}

func TestASnapshotThatFailedIsNotWaitedFor(t *testing.T) {
	b := newBench(t)
	snapshot := b.dataSnapshot()
	b.config = func(cfg aws.Config) aws.Config {
		return answering(cfg, "DescribeSnapshots", func(out any) {
			for i := range out.(*ec2.DescribeSnapshotsOutput).Snapshots {
				s := &out.(*ec2.DescribeSnapshotsOutput).Snapshots[i]
				s.State, s.StateMessage = "error", aws.String("the key is disabled")
			}
		})
	}
	err := b.fails("capture.export", false, map[string]any{"snapshots": []string{snapshot}})
	if !strings.Contains(err.Error(), snapshot) || !strings.Contains(err.Error(), "the key is disabled") {
		t.Errorf("got %v", err)
	}
}
