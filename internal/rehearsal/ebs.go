package rehearsal

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/ebs/types"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// The limits of the EBS direct APIs
// (https://docs.aws.amazon.com/ebs/latest/userguide/ebs-accessing-snapshot.html).
const (
	blockTokenLife  = 7 * 24 * time.Hour
	pageTokenLife   = time.Hour
	minBlocksPage   = 100
	maxBlocksPage   = 10000
	blocksPerGiB    = 1 << 30 / diskBlockSize
	blocksPerSearch = blocksPerGiB / 4 // how far one page looks for blocks: over a hole of the disk it is empty
)

// ebsState is empty: the blocks are the disks', and a token proves itself.
type ebsState struct{}

func (ops operations) ebs() {
	on(ops, ebsListSnapshotBlocks)
	on(ops, ebsListChangedBlocks)
	on(ops, ebsGetSnapshotBlock)
	on(ops, ebsStartSnapshot)
	on(ops, ebsPutSnapshotBlock)
	on(ops, ebsCompleteSnapshot)
}

// blockToken and pageToken are a token's purposes.
const (
	blockToken = "block"
	pageToken  = "page"
)

// ebsToken is made anew by every listing, since the time is in it, and can't be guessed or used for
// another snapshot or block.
func (w *world) ebsToken(purpose, snapshot string, index int32, issued time.Time) string {
	b := binary.BigEndian.AppendUint64([]byte{0, 1}, uint64(issued.UnixNano()))
	b = binary.BigEndian.AppendUint32(b, uint32(index))
	mac := sha256.Sum256(fmt.Appendf(nil, "%d %s %s %x", w.Seed, purpose, snapshot, b))
	return base64.StdEncoding.EncodeToString(append(b, mac[:22]...))
}

// openToken returns the index in a token that is genuine and has not expired.
func (w *world) openToken(purpose, snapshot, token string, life time.Duration) (index int32, ok bool) {
	b, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(b) != 36 {
		return 0, false
	}
	issued := time.Unix(0, int64(binary.BigEndian.Uint64(b[2:])))
	index = int32(binary.BigEndian.Uint32(b[10:]))
	return index, token == w.ebsToken(purpose, snapshot, index, issued) && w.Now.Before(issued.Add(life))
}

func ebsInvalid(reason types.ValidationExceptionReason, message string) error {
	return &types.ValidationException{Message: &message, Reason: reason}
}

// readable finds a snapshot whose blocks can be read: only a completed one's can.
func (c *call) readable(id *string) (*snapshot, error) {
	s := c.snapshot(aws.ToString(id))
	if s == nil {
		return nil, &types.ResourceNotFoundException{
			Message: aws.String("The snapshot '" + aws.ToString(id) + "' does not exist."),
			Reason:  types.ResourceNotFoundExceptionReasonSnapshotNotFound,
		}
	}
	if s.State != ec2types.SnapshotStateCompleted {
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidSnapshotId, "The snapshot '"+s.ID+"' is not in the completed state.")
	}
	return s, nil
}

// blocksPage is one page of a listing.
type blocksPage struct {
	indexes []int32
	next    *string
	expiry  time.Time
}

// page lists those of the indexes that come next. A page can be empty and not be the last: the
// paginator goes by the token alone.
func (c *call) page(s *snapshot, indexes []int32, starting, limit *int32, token *string) (*blocksPage, error) {
	most := aws.ToInt32(limit)
	if limit == nil {
		most = maxBlocksPage
	}
	if most < minBlocksPage || most > maxBlocksPage {
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidParameterValue, fmt.Sprintf("MaxResults must be between %d and %d.", minBlocksPage, maxBlocksPage))
	}
	from := aws.ToInt32(starting)
	if token != nil { // StartingBlockIndex is ignored then
		var ok bool
		if from, ok = c.openToken(pageToken, s.ID, *token, pageTokenLife); !ok {
			return nil, ebsInvalid(types.ValidationExceptionReasonInvalidPageToken, "The page token is invalid or has expired.")
		}
	}
	if from < 0 {
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidParameterValue, "StartingBlockIndex must not be negative.")
	}
	to, p := from+blocksPerSearch, &blocksPage{expiry: c.Now.Add(blockTokenLife)}
	for _, index := range indexes {
		if index < from || index >= to {
			continue
		}
		if len(p.indexes) == int(most) {
			to = index
			break
		}
		p.indexes = append(p.indexes, index)
	}
	if to < s.Size*blocksPerGiB {
		p.next = aws.String(c.ebsToken(pageToken, s.ID, to, c.Now))
	}
	return p, nil
}

// https://docs.aws.amazon.com/ebs/latest/APIReference/API_ListSnapshotBlocks.html: what is not listed is
// zeros. Listing again gives other tokens for the same blocks.
func ebsListSnapshotBlocks(c *call, in *ebs.ListSnapshotBlocksInput) (*ebs.ListSnapshotBlocksOutput, error) {
	s, err := c.readable(in.SnapshotId)
	if err != nil {
		return nil, err
	}
	p, err := c.page(s, s.content().blocks(), in.StartingBlockIndex, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ebs.ListSnapshotBlocksOutput{
		BlockSize: aws.Int32(diskBlockSize), VolumeSize: aws.Int64(int64(s.Size)), ExpiryTime: &p.expiry, NextToken: p.next,
	}
	for _, index := range p.indexes {
		out.Blocks = append(out.Blocks, types.Block{
			BlockIndex: aws.Int32(index), BlockToken: aws.String(c.ebsToken(blockToken, s.ID, index, c.Now)),
		})
	}
	return out, nil
}

// https://docs.aws.amazon.com/ebs/latest/APIReference/API_ListChangedBlocks.html: a block that only one of
// the two snapshots has comes with one token. Without a first snapshot it lists all of the second's.
func ebsListChangedBlocks(c *call, in *ebs.ListChangedBlocksInput) (*ebs.ListChangedBlocksOutput, error) {
	second, err := c.readable(in.SecondSnapshotId)
	if err != nil {
		return nil, err
	}
	first := &snapshot{}
	if in.FirstSnapshotId != nil {
		if first, err = c.readable(in.FirstSnapshotId); err != nil {
			return nil, err
		}
		if first.Volume != second.Volume {
			return nil, ebsInvalid(types.ValidationExceptionReasonUnrelatedSnapshots, "The snapshots must be of the same volume.")
		}
	}
	p, err := c.page(second, changed(first.content(), second.content()), in.StartingBlockIndex, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ebs.ListChangedBlocksOutput{
		BlockSize: aws.Int32(diskBlockSize), VolumeSize: aws.Int64(int64(second.Size)), ExpiryTime: &p.expiry, NextToken: p.next,
	}
	for _, index := range p.indexes {
		b := types.ChangedBlock{BlockIndex: aws.Int32(index)}
		if first.content().has(index) {
			b.FirstBlockToken = aws.String(c.ebsToken(blockToken, first.ID, index, c.Now))
		}
		if second.content().has(index) {
			b.SecondBlockToken = aws.String(c.ebsToken(blockToken, second.ID, index, c.Now))
		}
		out.ChangedBlocks = append(out.ChangedBlocks, b)
	}
	return out, nil
}

// https://docs.aws.amazon.com/ebs/latest/APIReference/API_GetSnapshotBlock.html: the token must be of this
// very block, and an encrypted snapshot's key usable by the caller.
func ebsGetSnapshotBlock(c *call, in *ebs.GetSnapshotBlockInput) (*ebs.GetSnapshotBlockOutput, error) {
	s, err := c.readable(in.SnapshotId)
	if err != nil {
		return nil, err
	}
	index, ok := c.openToken(blockToken, s.ID, aws.ToString(in.BlockToken), blockTokenLife)
	if !ok || index != aws.ToInt32(in.BlockIndex) {
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidBlockToken, "The block token is invalid or has expired.")
	}
	switch err := c.useKey(s.KMSKey, "kms:Decrypt"); {
	case errors.Is(err, errKeyState):
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidCustomerKey, err.Error())
	case err != nil:
		return nil, &types.AccessDeniedException{Message: aws.String(err.Error()), Reason: types.AccessDeniedExceptionReasonDependencyAccessDenied}
	}
	block, err := c.block(s.content(), index)
	if err != nil {
		return nil, err
	}
	if block == nil {
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidBlock, fmt.Sprintf("The snapshot '%s' has no block %d.", s.ID, index))
	}
	sum := sha256.Sum256(block)
	return &ebs.GetSnapshotBlockOutput{
		BlockData: io.NopCloser(bytes.NewReader(block)), DataLength: aws.Int32(diskBlockSize),
		Checksum: aws.String(base64.StdEncoding.EncodeToString(sum[:])), ChecksumAlgorithm: types.ChecksumAlgorithmChecksumAlgorithmSha256,
	}, nil
}
