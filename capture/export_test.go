package capture_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
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

	"github.com/cordon-ir/cordon/capture/diskimage"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
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

// rawDisk is what of a disk an image's restoring writes: pieces, by offset.
type rawDisk struct {
	size   int64
	pieces map[int64][]byte
}

func (d *rawDisk) Truncate(n int64) error { d.size = n; return nil }
func (d *rawDisk) WriteAt(b []byte, at int64) (int, error) {
	d.pieces[at] = bytes.Clone(b)
	return len(b), nil
}

func (b *bench) image(it evidence.Item) *diskimage.Reader {
	b.t.Helper()
	r, err := diskimage.Open(b.t.Context(), b.store, evidence.Ref{Key: it.Key, Version: it.Version, SHA256: it.SHA256, Bytes: it.Bytes})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// holds fails unless the image, restored, is the snapshot's disk.
func (b *bench) holds(it evidence.Item, want map[int32][]byte, size int64) {
	b.t.Helper()
	disk := &rawDisk{pieces: make(map[int64][]byte)}
	sha, err := b.image(it).Restore(b.t.Context(), disk, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if disk.size != size || it.ContentBytes != size || it.ContentSHA256 != "" && it.ContentSHA256 != sha || it.ContentRoot == "" {
		b.t.Errorf("restored %d bytes with sha256 %s; item %+v", disk.size, sha, it)
	}
	raw, zero := sha256.New(), make([]byte, 512<<10)
	for i := range int32(size / (512 << 10)) {
		block := want[i]
		if block == nil {
			block = zero
		}
		raw.Write(block)
		const piece = 64 << 10
		for at := int64(0); at < 512<<10; at += piece {
			part := block[at : at+piece]
			if got := disk.pieces[int64(i)<<19+at]; got == nil && !bytes.Equal(part, zero[:piece]) || got != nil && !bytes.Equal(part, got) {
				b.t.Fatalf("block %d differs from the snapshot's", i)
			}
		}
	}
	if sum := hex.EncodeToString(raw.Sum(nil)); sha != sum {
		b.t.Errorf("restored with sha256 %s, the snapshot has %s", sha, sum)
	}
}

// whole fails unless every byte of the image is right and it lists the snapshot's blocks.
func (b *bench) whole(it evidence.Item, want map[int32][]byte) {
	b.t.Helper()
	if err := b.image(it).Verify(b.t.Context(), nil); err != nil {
		b.t.Error(err)
	}
	b.checkLists(it, want)
}

func TestAnExportedDiskIsTheSnapshotByteForByte(t *testing.T) {
	b := newBench(t)
	snapshot := b.dataSnapshot()
	r, v := b.run("capture.export", false, map[string]any{"snapshots": []string{snapshot}, "segment_bytes": 100 << 20})
	if got := r.Outputs["images"].([]string); len(got) != 1 || got[0] != "disk-image-"+snapshot || len(v.Observed) != 2 {
		t.Fatalf("images %q, observed %q", got, v.Observed)
	}
	it := b.item("disk-image-" + snapshot)
	index := b.bytes(it)
	if sum := sha256.Sum256(index); hex.EncodeToString(sum[:]) != it.SHA256 || int64(len(index)) != it.Bytes || it.Kind != evidence.KindDiskImage || it.ContentSHA256 == "" {
		t.Errorf("stored %d bytes, item %+v", len(index), it)
	}
	want, size := b.blocksOf(snapshot)
	if len(want) == 0 {
		t.Fatal("the snapshot holds no blocks: nothing is tested")
	}
	b.holds(it, want, size)
	b.checkLists(it, want)
	raw := sha256.New()
	for n := range 11 { // as anyone with zstd does it
		it.Key, it.Version = evidence.Key(incident.Case{ID: "INC-1", Rehearsal: true}, "run-1", evidence.DataName(it.ID, n, false)), ""
		z, err := zstd.NewReader(bytes.NewReader(b.bytes(it)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(raw, z); err != nil {
			t.Fatal(err)
		}
		z.Close()
	}
	if sum := hex.EncodeToString(raw.Sum(nil)); sum != it.ContentSHA256 {
		t.Errorf("decompressed the segments give sha256 %s, the item says %s", sum, it.ContentSHA256)
	}
}

// checkLists: the block lists name each block that the snapshot holds, with its digest.
func (b *bench) checkLists(it evidence.Item, want map[int32][]byte) {
	b.t.Helper()
	objects, err := b.store.List(b.t.Context(), "rehearsal/INC-1/run-1/"+it.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	found := 0
	for _, o := range objects {
		if !strings.HasSuffix(o.Key, ".blocks") {
			continue
		}
		it.Key, it.Version = o.Key, o.Version
		err := evidence.ReadBlockList(bytes.NewReader(b.bytes(it)), func(e evidence.BlockEntry) error {
			if found++; sha256.Sum256(want[int32(e.Index)]) != e.Sum {
				return fmt.Errorf("block %d: digest %x", e.Index, e.Sum)
			}
			return nil
		})
		if err != nil {
			b.t.Error(err)
		}
	}
	if found != len(want) {
		b.t.Errorf("%d blocks are listed, the snapshot has %d", found, len(want))
	}
}

// reading changes what the first n reads of the block with this digest give.
func reading(digest [sha256.Size]byte, n int, change func([]byte) []byte) func(aws.Config) aws.Config {
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
				data = change(data)
				n--
			}
			o.BlockData = io.NopCloser(bytes.NewReader(data))
		})
	}
}

func TestABlockThatComesSpoiledOrCutIsReadAgainAndThenFailsByName(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"spoiled": func(b []byte) []byte { b[1000] ^= 1; return b },
		"cut":     func(b []byte) []byte { return b[:1000] },
		"empty":   func(b []byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			snapshot := b.dataSnapshot()
			with := map[string]any{"snapshots": []string{snapshot}, "whole_digest": "never"}
			b.sleep(time.Hour) // until it is completed
			blocks, _ := b.blocksOf(snapshot)
			index := slices.Max(slices.Collect(maps.Keys(blocks)))
			b.config = reading(sha256.Sum256(blocks[index]), 1000, change)
			if err := b.fails("capture.export", false, with); !strings.Contains(err.Error(), fmt.Sprintf("block %d of %s", index, snapshot)) {
				t.Errorf("got %v", err)
			}
			b.noImage(snapshot)
			b.config = reading(sha256.Sum256(blocks[index]), 2, change)
			b.run("capture.export", true, with)
			b.whole(b.item("disk-image-"+snapshot), blocks)
		})
	}
}

func (b *bench) sleep(d time.Duration) {
	b.t.Helper()
	if err := b.account.Clock().Sleep(b.t.Context(), d); err != nil {
		b.t.Fatal(err)
	}
}

// noImage: nothing that counts as evidence is there.
func (b *bench) noImage(snapshot string) {
	b.t.Helper()
	if _, err := b.store.Stat(b.t.Context(), "rehearsal/INC-1/run-1/disk-image-"+snapshot+".json", ""); !errors.Is(err, evidence.ErrNotFound) {
		b.t.Errorf("an image that was cut short has an index: %v", err)
	}
	if _, ok := b.custody.Item("disk-image-" + snapshot); ok {
		b.t.Error("an image that was cut short is in the journal")
	}
}

func TestWhatAWSThrottlesOrFailsForAWhileIsTriedAgain(t *testing.T) {
	for name, fault := range map[string]rehearsal.Fault{
		"throttled":         {Operation: "ebs:GetSnapshotBlock", Kind: "throttle", Skip: 3, Count: 20},
		"listing throttled": {Operation: "ebs:ListSnapshotBlocks", Kind: "throttle", Skip: 2, Count: 8},
		"server error":      {Operation: "ebs:GetSnapshotBlock", Kind: "error", Code: "InternalServerException", Skip: 3, Count: 20},
		"quota":             {Operation: "ebs:GetSnapshotBlock", Kind: "error", Code: "ServiceQuotaExceededException", Count: 10},
		"lost":              {Operation: "ebs:GetSnapshotBlock", Kind: "lost", Count: 10},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			snapshot := b.dataSnapshot()
			b.sleep(time.Hour)
			want, _ := b.blocksOf(snapshot)
			b.inject(fault)
			before := b.account.Clock().Now()
			b.run("capture.export", false, map[string]any{"snapshots": []string{snapshot}, "whole_digest": "never"})
			if !b.account.Clock().Now().After(before) {
				t.Error("nothing was waited for: the fault was not met")
			}
			b.whole(b.item("disk-image-"+snapshot), want)
		})
	}
}

func TestWhatAWSFailsForGoodEndsTheExportInTime(t *testing.T) {
	b := newBench(t)
	snapshot := b.dataSnapshot()
	with := map[string]any{"snapshots": []string{snapshot}}
	b.sleep(time.Hour)
	b.inject(rehearsal.Fault{Operation: "ebs:GetSnapshotBlock", Kind: "error", Code: "InternalServerException", Skip: 3, Count: 1 << 30})
	before := b.account.Clock().Now()
	err := b.fails("capture.export", false, with)
	var hint *incident.HintError
	if !strings.Contains(err.Error(), "block ") || !errors.As(err, &hint) {
		t.Errorf("got %v", err)
	}
	if took := b.account.Clock().Now().Sub(before); took < 10*time.Minute || took > time.Hour {
		t.Errorf("it took %s", took)
	}
	b.noImage(snapshot)
}

func TestPageTokensThatExpireAreReplaced(t *testing.T) {
	b := newBench(t)
	snapshot := b.dataSnapshot()
	b.sleep(time.Hour)
	want, _ := b.blocksOf(snapshot)
	pages := 0
	b.config = func(cfg aws.Config) aws.Config {
		return answering(cfg, "ListSnapshotBlocks", func(any) {
			if pages++; pages%2 == 0 {
				b.sleep(61 * time.Minute)
			}
		})
	}
	b.run("capture.export", false, map[string]any{"snapshots": []string{snapshot}, "whole_digest": "never"})
	if pages < 8 {
		t.Errorf("%d pages: too few to tell", pages)
	}
	b.whole(b.item("disk-image-"+snapshot), want)
}

func TestAnExportThatIsCutIsNoEvidenceAndIsMadeGood(t *testing.T) {
	for _, fault := range []rehearsal.Fault{
		{Operation: "ebs:GetSnapshotBlock", Kind: "error", Code: "AccessDeniedException", Skip: 5, Count: 1},
		{Operation: "s3:UploadPart", Kind: "error", Code: "AccessDenied", Skip: 1, Count: 1},
		{Operation: "s3:PutObject", Kind: "error", Code: "AccessDenied", Skip: 1, Count: 1},
		{Operation: "s3:CompleteMultipartUpload", Kind: "error", Code: "AccessDenied", Skip: 1, Count: 1},
		{Operation: "s3:CreateMultipartUpload", Kind: "error", Code: "AccessDenied", Skip: 1, Count: 1},
	} {
		t.Run(fault.Operation, func(t *testing.T) {
			b := newBench(t)
			snapshot := b.dataSnapshot()
			with := map[string]any{"snapshots": []string{snapshot}, "whole_digest": "never", "segment_bytes": 256 << 20}
			b.sleep(time.Hour)
			want, _ := b.blocksOf(snapshot)
			b.inject(fault)
			b.fails("capture.export", false, with)
			b.noImage(snapshot)
			first, _ := b.run("capture.export", true, with)
			b.whole(b.item("disk-image-"+snapshot), want)
			// The index is there: no block is read again.
			b.inject(rehearsal.Fault{Operation: "ebs:GetSnapshotBlock", Kind: "error", Code: "AccessDeniedException", Count: 1000})
			second, _ := b.run("capture.export", true, with)
			if string(first.Applied) != string(second.Applied) {
				t.Errorf("first %s, then %s", first.Applied, second.Applied)
			}
			if n := len(b.custody.EventsOf("disk-image-" + snapshot)); n != 1 {
				t.Errorf("%d custody events", n)
			}
		})
	}
}

func TestASecondImageOfAVolumeHoldsTheChangesOnly(t *testing.T) {
	b := newBench(t)
	first := b.dataSnapshot()
	b.run("capture.export", false, map[string]any{"snapshots": []string{first}})
	snap, err := b.ec2().DescribeSnapshots(t.Context(), &ec2.DescribeSnapshotsInput{SnapshotIds: []string{first}})
	if err != nil {
		t.Fatal(err)
	}
	volume := *snap.Snapshots[0].VolumeId
	before, _ := b.blocksOf(first)
	gone := slices.Min(slices.Collect(maps.Keys(before)))
	for index, data := range map[int32][]byte{gone: nil, 1500: bytes.Repeat([]byte("intruder"), 64<<10), 1501: bytes.Repeat([]byte{1}, 512<<10)} {
		if err := b.account.WriteBlock(volume, index, data); err != nil {
			t.Fatal(err)
		}
	}
	made, err := b.ec2().CreateSnapshot(t.Context(), &ec2.CreateSnapshotInput{VolumeId: &volume})
	if err != nil {
		t.Fatal(err)
	}
	b.sleep(time.Hour)
	with := map[string]any{"snapshots": []string{*made.SnapshotId}}
	p, err := b.plan("capture.export", with)
	if err != nil || !strings.Contains(p.Changes[0].After, "changed since disk-image-"+first) {
		t.Fatalf("proposal %+v, %v", p, err)
	}
	b.run("capture.export", false, with)
	want, size := b.blocksOf(*made.SnapshotId)
	it := b.item("disk-image-" + *made.SnapshotId)
	b.holds(it, want, size)
	if it.ContentSHA256 != "" || !strings.Contains(strings.Join(it.Notes, "\n"), "disk-image-"+first) {
		t.Errorf("item %+v", it)
	}
	b.checkLists(it, map[int32][]byte{gone: make([]byte, 512<<10), 1500: want[1500], 1501: want[1501]})

	// Without the earlier snapshot there is nothing to compare with, and it can be done without.
	if _, err := b.ec2().DeleteSnapshot(t.Context(), &ec2.DeleteSnapshotInput{SnapshotId: made.SnapshotId}); err != nil {
		t.Fatal(err)
	}
	third, err := b.ec2().CreateSnapshot(t.Context(), &ec2.CreateSnapshotInput{VolumeId: &volume})
	if err != nil {
		t.Fatal(err)
	}
	b.sleep(time.Hour)
	b.run("capture.export", false, map[string]any{"snapshots": []string{*third.SnapshotId}})
	if it := b.item("disk-image-" + *third.SnapshotId); it.ContentSHA256 == "" {
		t.Errorf("it builds on an image whose snapshot is gone: %+v", it)
	} else {
		b.holds(it, want, size)
	}
}

func TestThePlanSaysWhatAnExportMovesAndCosts(t *testing.T) {
	b := newBench(t)
	snapshot := b.dataSnapshot()
	with := map[string]any{"snapshots": []string{snapshot}}
	pending, err := b.plan("capture.export", with)
	if err != nil {
		t.Fatal(err)
	}
	b.sleep(time.Hour)
	blocks, _ := b.blocksOf(snapshot)
	completed, err := b.plan("capture.export", with)
	if err != nil {
		t.Fatal(err)
	}
	for want, p := range map[string]incident.Proposal{"at most 1.0 GiB to read: 2048 blocks": pending, fmt.Sprintf("%d blocks", len(blocks)): completed} {
		if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, want) || !strings.Contains(notes, "Estimate") {
			t.Errorf("want %q in %q", want, notes)
		}
	}
	for _, bad := range []int64{0, 1000, 1 << 40} {
		if _, err := b.plan("capture.export", map[string]any{"snapshots": []string{}, "segment_bytes": bad}); err == nil ||
			!strings.Contains(err.Error(), "segment_bytes") || !strings.Contains(err.Error(), "snapshots") {
			t.Errorf("segment_bytes %d: %v", bad, err)
		}
	}
}

func TestTheWholeDigestCanBeLeftToFetch(t *testing.T) {
	b := newBench(t)
	snapshot := b.dataSnapshot()
	b.run("capture.export", false, map[string]any{"snapshots": []string{snapshot}, "whole_digest": "never"})
	it := b.item("disk-image-" + snapshot)
	want, size := b.blocksOf(snapshot)
	if b.holds(it, want, size); it.ContentSHA256 != "" || it.ContentRoot == "" {
		t.Errorf("item %+v", it)
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
