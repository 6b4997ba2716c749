package rehearsal

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/ebs/types"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// snapshotWriting is what a snapshot has until it is completed that is written block by block.
type snapshotWriting struct {
	Last    time.Time     `json:"last"`    // a block was written
	Timeout time.Duration `json:"timeout"` // without one for so long it is given up
}

// sealTime is how long a snapshot takes to complete after its last block.
const sealTime = 10 * time.Second

// https://docs.aws.amazon.com/ebs/latest/APIReference/API_StartSnapshot.html: without a parent. The same client
// token gives the same snapshot.
func ebsStartSnapshot(c *call, in *ebs.StartSnapshotInput) (*ebs.StartSnapshotOutput, error) {
	size, minutes := aws.ToInt64(in.VolumeSize), valueOr(in.Timeout, 60)
	switch {
	case in.ParentSnapshotId != nil:
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidParameterValue, "The simulated account starts snapshots without a parent.")
	case size < 1 || size > 65536:
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidVolumeSize, fmt.Sprintf("The volume size %d GiB is not valid.", size))
	case minutes < 10 || minutes > 4320:
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidParameterValue, "The timeout must be between 10 and 4320 minutes.")
	case in.KmsKeyArn != nil && !aws.ToBool(in.Encrypted):
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidParameterValue, "A KMS key is for an encrypted snapshot.")
	}
	tags := make(map[string]string)
	for _, t := range in.Tags {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	if checkTags(tags) != nil {
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidTag, "A tag is not valid.")
	}
	id, err := c.ec2().once("StartSnapshot", in.ClientToken, in, func() (string, error) {
		snap := &snapshot{
			ID: c.id("snap"), Volume: copiedVolume, Owner: c.Account, Description: aws.ToString(in.Description), Size: int32(size),
			State: ec2types.SnapshotStatePending, Started: c.Now, Encrypted: aws.ToBool(in.Encrypted) || c.ec2().EncryptByDefault,
			Writing: &snapshotWriting{Last: c.Now, Timeout: time.Duration(minutes) * time.Minute},
		}
		if snap.Encrypted {
			snap.KMSKey = c.ebsKey(aws.ToString(in.KmsKeyArn))
			if err := c.useKey(snap.KMSKey, "kms:GenerateDataKey"); err != nil {
				return "", ebsInvalid(types.ValidationExceptionReasonInvalidCustomerKey, err.Error())
			}
		}
		c.EC2.Snapshots[snap.ID] = snap
		c.tag(snap.ID, tags)
		return snap.ID, nil
	})
	if err != nil {
		return nil, err
	}
	snap := c.snapshot(id)
	return &ebs.StartSnapshotOutput{
		SnapshotId: &snap.ID, BlockSize: aws.Int32(diskBlockSize), VolumeSize: aws.Int64(size), Status: types.Status(snap.State), OwnerId: &c.Account,
		StartTime: &snap.Started, Description: &snap.Description, KmsKeyArn: nilIfEmpty(snap.KMSKey), Tags: in.Tags,
	}, nil
}

// writable finds a snapshot that blocks can be written to: one that was started and not completed.
func (c *call) writable(id *string) (*snapshot, error) {
	s := c.snapshot(aws.ToString(id))
	switch {
	case s == nil:
		return nil, &types.ResourceNotFoundException{
			Message: aws.String("The snapshot '" + aws.ToString(id) + "' does not exist."), Reason: types.ResourceNotFoundExceptionReasonSnapshotNotFound,
		}
	case s.Writing == nil || s.State != ec2types.SnapshotStatePending:
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidSnapshotId, "The snapshot '"+s.ID+"' is not in the pending state.")
	}
	return s, nil
}

// https://docs.aws.amazon.com/ebs/latest/APIReference/API_PutSnapshotBlock.html: a block that is there is
// overwritten. The checksum must be that of the data.
func ebsPutSnapshotBlock(c *call, in *ebs.PutSnapshotBlockInput) (*ebs.PutSnapshotBlockOutput, error) {
	s, err := c.writable(in.SnapshotId)
	if err != nil {
		return nil, err
	}
	index := aws.ToInt32(in.BlockIndex)
	if index < 0 || index >= s.Size*blocksPerGiB {
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidBlock, fmt.Sprintf("The snapshot '%s' has no block %d.", s.ID, index))
	}
	data, err := io.ReadAll(io.LimitReader(in.BlockData, diskBlockSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) != diskBlockSize || aws.ToInt32(in.DataLength) != diskBlockSize {
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidParameterValue, fmt.Sprintf("A block has %d bytes, not %d.", diskBlockSize, len(data)))
	}
	sum := sha256.Sum256(data)
	text := base64.StdEncoding.EncodeToString(sum[:])
	if in.ChecksumAlgorithm != types.ChecksumAlgorithmChecksumAlgorithmSha256 || aws.ToString(in.Checksum) != text {
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidParameterValue, "The checksum is not that of the data.")
	}
	blob, err := c.blobs.put(data)
	if err != nil {
		return nil, err
	}
	if s.Written == nil {
		s.Written = make(writes)
	}
	s.Written[index], s.Writing.Last = blob, c.Now
	return &ebs.PutSnapshotBlockOutput{Checksum: &text, ChecksumAlgorithm: in.ChecksumAlgorithm}, nil
}

// https://docs.aws.amazon.com/ebs/latest/APIReference/API_CompleteSnapshot.html: with the number of blocks and,
// where given, the SHA-256 over their checksums in the order of their indexes.
func ebsCompleteSnapshot(c *call, in *ebs.CompleteSnapshotInput) (*ebs.CompleteSnapshotOutput, error) {
	s, err := c.writable(in.SnapshotId)
	if err != nil {
		return nil, err
	}
	if aws.ToInt32(in.ChangedBlocksCount) != int32(len(s.Written)) {
		return nil, ebsInvalid(types.ValidationExceptionReasonInvalidParameterValue, fmt.Sprintf("%d blocks were written, not %d.", len(s.Written), aws.ToInt32(in.ChangedBlocksCount)))
	}
	if in.Checksum != nil {
		all := sha256.New()
		for _, index := range slices.Sorted(maps.Keys(s.Written)) {
			sum, err := hex.DecodeString(s.Written[index]) // a blob's name is its SHA-256
			if err != nil {
				panic("rehearsal: a blob's name is no digest: " + err.Error())
			}
			all.Write(sum)
		}
		if *in.Checksum != base64.StdEncoding.EncodeToString(all.Sum(nil)) {
			return nil, ebsInvalid(types.ValidationExceptionReasonInvalidParameterValue, "The checksum is not that of the blocks.")
		}
	}
	s.Writing, s.Completes = nil, c.Now.Add(sealTime)
	return &ebs.CompleteSnapshotOutput{Status: types.StatusPending}, nil
}
