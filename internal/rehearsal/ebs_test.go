package rehearsal

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/ebs/types"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// snapshots is an account with a snapshot of either disk, and one that is not done yet.
func snapshots(t *testing.T) (*Account, *ebs.Client) {
	t.Helper()
	a := emptyAccount(t, func(w *world) {
		keep := func(id, disk string, size int32, state ec2types.SnapshotState) {
			put(&w.EC2.Snapshots, id, &snapshot{ID: id, Volume: "vol-of-" + disk, Disk: disk, Size: size, State: state, Completes: w.Now.Add(time.Minute)})
		}
		keep("snap-root", diskWebRoot, 2, ec2types.SnapshotStateCompleted)
		keep("snap-data", diskWebData, 1, ec2types.SnapshotStateCompleted)
		keep("snap-pending", diskWebRoot, 2, ec2types.SnapshotStatePending)
	})
	return a, ebs.NewFromConfig(a.Config("eu-central-1"))
}

func listBlocks(t *testing.T, client *ebs.Client, id string) (tokens map[int32]string, pages, empty int) {
	t.Helper()
	tokens = make(map[int32]string)
	p := ebs.NewListSnapshotBlocksPaginator(client, &ebs.ListSnapshotBlocksInput{SnapshotId: aws.String(id), MaxResults: aws.Int32(100)})
	for p.HasMorePages() {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pages++
		if len(page.Blocks) == 0 {
			empty++
		}
		for _, b := range page.Blocks {
			tokens[*b.BlockIndex] = *b.BlockToken
		}
	}
	return tokens, pages, empty
}

// The whole way of an export: list, get, check, put together; then what an examiner's tools look
// for first: the superblock of ext4, 1,024 bytes in.
func TestASnapshotOfTheRootVolumeIsAnExt4FileSystem(t *testing.T) {
	_, client := snapshots(t)
	tokens, _, empty := listBlocks(t, client, "snap-root")
	if empty == 0 {
		t.Error("no page was empty: a caller that stops at one would not be found out")
	}
	image := make(map[int32][]byte)
	for index, token := range tokens {
		out, err := client.GetSnapshotBlock(t.Context(), &ebs.GetSnapshotBlockInput{SnapshotId: aws.String("snap-root"), BlockIndex: aws.Int32(index), BlockToken: aws.String(token)})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(out.BlockData)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		if len(data) != 512<<10 || *out.DataLength != 512<<10 || *out.Checksum != base64.StdEncoding.EncodeToString(sum[:]) {
			t.Fatalf("block %d: %d bytes, checksum %s", index, len(data), *out.Checksum)
		}
		image[index] = data
	}
	superblock := image[0][1024:2048]
	if magic := binary.LittleEndian.Uint16(superblock[0x38:]); magic != 0xEF53 {
		t.Fatalf("magic %#x", magic)
	}
	if uuid := hex.EncodeToString(superblock[0x68:0x78]); uuid != "5e1f0b6a3f0c4d8e9a517c0de0c0ffee" {
		t.Fatalf("UUID %s", uuid)
	}
	if size := int64(binary.LittleEndian.Uint32(superblock[4:])) * 4096; size != 2<<30 {
		t.Fatalf("the file system has %d bytes, not the volume's 2 GiB", size)
	}
	// The deleted file's content is still there: nothing zeroed it.
	found := slices.ContainsFunc(slices.Collect(maps.Values(image)), func(b []byte) bool {
		return bytes.Contains(b, []byte("the staging script was recovered"))
	})
	if !found {
		t.Fatal("the deleted file's content is gone")
	}
}

func TestListingAgainChangesTheTokensAndTheOldOnesStayValidForAWeek(t *testing.T) {
	a, client := snapshots(t)
	old, _, _ := listBlocks(t, client, "snap-root")
	again, _, _ := listBlocks(t, client, "snap-root")
	if len(old) == 0 || len(old) != len(again) {
		t.Fatalf("%d blocks, then %d", len(old), len(again))
	}
	for index := range old {
		if old[index] == again[index] {
			t.Fatalf("block %d has the same token twice", index)
		}
	}
	get := func(snapshot string, index int32, token string) error {
		_, err := client.GetSnapshotBlock(t.Context(), &ebs.GetSnapshotBlockInput{SnapshotId: &snapshot, BlockIndex: &index, BlockToken: &token})
		return err
	}
	wantCode(t, get("snap-root", 0, old[0]), "")
	wantCode(t, get("snap-root", 1, old[0]), "ValidationException") // another block's
	wantCode(t, get("snap-data", 0, old[0]), "ValidationException") // another snapshot's
	wantCode(t, get("snap-root", 0, "AAEB"), "ValidationException")
	sleep(t, a, blockTokenLife-time.Hour)
	wantCode(t, get("snap-root", 0, old[0]), "")
	sleep(t, a, 2*time.Hour)
	wantCode(t, get("snap-root", 0, old[0]), "ValidationException")
}

func sleep(t *testing.T, a *Account, d time.Duration) {
	t.Helper()
	if err := a.Clock().Sleep(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func TestAPageTokenLastsAnHour(t *testing.T) {
	a, client := snapshots(t)
	first, err := client.ListSnapshotBlocks(t.Context(), &ebs.ListSnapshotBlocksInput{SnapshotId: aws.String("snap-root")})
	if err != nil {
		t.Fatal(err)
	}
	next := &ebs.ListSnapshotBlocksInput{SnapshotId: aws.String("snap-root"), NextToken: first.NextToken}
	sleep(t, a, 59*time.Minute)
	_, err = client.ListSnapshotBlocks(t.Context(), next)
	wantCode(t, err, "")
	sleep(t, a, time.Minute)
	_, err = client.ListSnapshotBlocks(t.Context(), next)
	wantCode(t, err, "ValidationException")
}

func TestWhatListSnapshotBlocksRefuses(t *testing.T) {
	_, client := snapshots(t)
	for _, test := range []struct {
		name string
		in   ebs.ListSnapshotBlocksInput
		code string
	}{
		{"not there", ebs.ListSnapshotBlocksInput{SnapshotId: aws.String("snap-none")}, "ResourceNotFoundException"},
		{"not completed", ebs.ListSnapshotBlocksInput{SnapshotId: aws.String("snap-pending")}, "ValidationException"},
		{"page too small", ebs.ListSnapshotBlocksInput{SnapshotId: aws.String("snap-root"), MaxResults: aws.Int32(99)}, "ValidationException"},
		{"page too large", ebs.ListSnapshotBlocksInput{SnapshotId: aws.String("snap-root"), MaxResults: aws.Int32(10001)}, "ValidationException"},
		{"forged page token", ebs.ListSnapshotBlocksInput{SnapshotId: aws.String("snap-root"), NextToken: aws.String("x")}, "ValidationException"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := client.ListSnapshotBlocks(t.Context(), &test.in)
			wantCode(t, err, test.code)
		})
	}
}

func TestWhatWasWrittenBetweenTwoSnapshotsIsListedAsChanged(t *testing.T) {
	a, client := snapshots(t)
	const id = "vol-of-" + diskWebData
	snap := func(name string) {
		if err := a.with(func(w *world) bool {
			if w.EC2.Volumes[id] == nil {
				put(&w.EC2.Volumes, id, &volume{ID: id, Size: 1, Disk: diskWebData})
			}
			s := *w.EC2.Snapshots["snap-data"]
			s.ID, s.Written = name, w.EC2.Volumes[id].Written
			w.EC2.Snapshots[name] = &s
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	snap("snap-before")
	there := diskBlocks(diskWebData)[0]
	data := bytes.Repeat([]byte{7}, diskBlockSize)
	for index, b := range map[int32][]byte{there: nil, 1000: data} {
		if err := a.WriteBlock(id, index, b); err != nil {
			t.Fatal(err)
		}
	}
	snap("snap-after")
	out, err := client.ListChangedBlocks(t.Context(), &ebs.ListChangedBlocksInput{FirstSnapshotId: aws.String("snap-before"), SecondSnapshotId: aws.String("snap-after")})
	if err != nil || len(out.ChangedBlocks) != 1 || *out.ChangedBlocks[0].BlockIndex != there || out.ChangedBlocks[0].FirstBlockToken == nil || out.ChangedBlocks[0].SecondBlockToken != nil {
		t.Fatalf("discarded: %+v, %v", out, err)
	}
	tokens, _, _ := listBlocks(t, client, "snap-after")
	got, err := client.GetSnapshotBlock(t.Context(), &ebs.GetSnapshotBlockInput{SnapshotId: aws.String("snap-after"), BlockIndex: aws.Int32(1000), BlockToken: aws.String(tokens[1000])})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(got.BlockData); err != nil || !bytes.Equal(b, data) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	before, _, _ := listBlocks(t, client, "snap-before")
	if _, ok := before[1000]; ok || before[there] == "" {
		t.Error("the snapshot from before has changed")
	}
	if err := a.WriteBlock(id, 1<<20, data); err == nil {
		t.Error("a block behind the volume's end was written")
	}
}

func TestOnlySnapshotsOfOneVolumeCanBeCompared(t *testing.T) {
	_, client := snapshots(t)
	list := func(first, second string) ([]types.ChangedBlock, error) {
		var all []types.ChangedBlock
		p := ebs.NewListChangedBlocksPaginator(client, &ebs.ListChangedBlocksInput{FirstSnapshotId: nilIfEmpty(first), SecondSnapshotId: &second})
		for p.HasMorePages() {
			page, err := p.NextPage(t.Context())
			if err != nil {
				return nil, err
			}
			all = append(all, page.ChangedBlocks...)
		}
		return all, nil
	}
	_, err := list("snap-root", "snap-data")
	wantCode(t, err, "ValidationException")
	same, err := list("snap-root", "snap-root")
	if err != nil || len(same) != 0 {
		t.Fatalf("%d blocks changed, %v", len(same), err)
	}
	whole, err := list("", "snap-data")
	if err != nil || len(whole) != len(diskBlocks(diskWebData)) || whole[0].FirstBlockToken != nil || whole[0].SecondBlockToken == nil {
		t.Fatalf("%d blocks, %v", len(whole), err)
	}
}

func TestTheBlocksOfAnEncryptedSnapshotNeedItsKey(t *testing.T) {
	a, client := snapshots(t)
	tokens, _, _ := listBlocks(t, client, "snap-data")
	var key *kmsKey
	if err := a.with(func(w *world) bool {
		c := &call{world: w, region: "eu-central-1"}
		key = c.newKey("CUSTOMER", "evidence")
		w.EC2.Snapshots["snap-data"].KMSKey = w.keyARN(key)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	get := func() error {
		_, err := client.GetSnapshotBlock(t.Context(), &ebs.GetSnapshotBlockInput{SnapshotId: aws.String("snap-data"), BlockIndex: aws.Int32(0), BlockToken: aws.String(tokens[0])})
		return err
	}
	wantCode(t, get(), "")
	key.State = "Disabled"
	wantCode(t, get(), "ValidationException")
	key.State = "Enabled"
	deny(t, a, "kms:Decrypt")
	wantCode(t, get(), "AccessDeniedException")
}
