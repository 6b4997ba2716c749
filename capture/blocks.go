package capture

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"golang.org/x/sync/errgroup"
)

const (
	// blockBytes is the size of an EBS direct block (aws-facts.md, "EBS direct APIs").
	blockBytes = 512 << 10
	// blocksPerPage is the most that ListSnapshotBlocks gives.
	blocksPerPage = 10_000
	// parallelBlocks are read at once. At 20 ms a block 16 readers come near
	// the 500 MiB/s that AWS allows for one snapshot.
	parallelBlocks = 16
	// blockTries: a block whose bytes don't match its checksum is read again.
	blockTries = 3
)

// block of a snapshot, read and checked.
type block struct {
	index int32
	sum   [sha256.Size]byte
	data  []byte
}

// readBlocks reads every block that the snapshot holds and yields them in order.
// At most twice parallelBlocks are in memory.
func readBlocks(ctx context.Context, client *ebs.Client, snapshot string, yield func(block) error) error {
	type reading struct {
		block block
		done  chan struct{}
	}
	g, ctx := errgroup.WithContext(ctx)
	inOrder := make(chan *reading, parallelBlocks)
	g.Go(func() error {
		defer close(inOrder)
		readers, rctx := errgroup.WithContext(ctx)
		readers.SetLimit(parallelBlocks)
		err := listBlocks(rctx, client, snapshot, func(index int32, token *string) error {
			r := &reading{block: block{index: index}, done: make(chan struct{})}
			select {
			case inOrder <- r:
			case <-rctx.Done():
				return context.Cause(rctx)
			}
			readers.Go(func() (err error) {
				if r.block, err = readBlock(rctx, client, snapshot, index, token); err == nil {
					close(r.done)
				}
				return err
			})
			return nil
		})
		if rerr := readers.Wait(); rerr != nil {
			return rerr // what stopped the listing, too
		}
		return err
	})
	g.Go(func() error {
		for r := range inOrder {
			select {
			case <-r.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if err := yield(r.block); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// listBlocks yields the snapshot's blocks in ascending order. A page may be
// empty and still not be the last.
func listBlocks(ctx context.Context, client *ebs.Client, snapshot string, yield func(index int32, token *string) error) error {
	in := &ebs.ListSnapshotBlocksInput{SnapshotId: &snapshot, MaxResults: aws.Int32(blocksPerPage)}
	next := int32(0)
	for {
		page, err := client.ListSnapshotBlocks(ctx, in)
		if errorCode(err) == "ValidationException" && in.NextToken != nil {
			// A page token lives for 60 minutes: list anew from where we are.
			in.NextToken, in.StartingBlockIndex = nil, aws.Int32(next)
			page, err = client.ListSnapshotBlocks(ctx, in)
		}
		if err != nil {
			return fmt.Errorf("listing the blocks of %s: %w", snapshot, err)
		}
		if size := aws.ToInt32(page.BlockSize); size != blockBytes {
			return fmt.Errorf("snapshot %s: blocks of %d bytes; only %d are known", snapshot, size, blockBytes)
		}
		for _, b := range page.Blocks {
			index := aws.ToInt32(b.BlockIndex)
			if index < next {
				return fmt.Errorf("snapshot %s: AWS listed block %d after block %d", snapshot, index, next-1)
			}
			if err := yield(index, b.BlockToken); err != nil {
				return err
			}
			next = index + 1
		}
		if aws.ToString(page.NextToken) == "" {
			return nil
		}
		in.NextToken, in.StartingBlockIndex = page.NextToken, nil
	}
}

// errChecksum: AWS's checksum of a block is not that of the bytes that came.
var errChecksum = errors.New("the bytes do not match the checksum that AWS gives")

// readBlock reads one block and checks it against its SHA-256.
func readBlock(ctx context.Context, client *ebs.Client, snapshot string, index int32, token *string) (block, error) {
	var err error
	for range blockTries {
		var b block
		b, err = readBlockOnce(ctx, client, snapshot, index, token)
		if err == nil || !errors.Is(err, errChecksum) {
			return b, err
		}
	}
	return block{}, err
}

func readBlockOnce(ctx context.Context, client *ebs.Client, snapshot string, index int32, token *string) (block, error) {
	b := block{index: index}
	out, err := client.GetSnapshotBlock(ctx, &ebs.GetSnapshotBlockInput{SnapshotId: &snapshot, BlockIndex: &index, BlockToken: token})
	if err != nil {
		return b, fmt.Errorf("block %d of %s: %w", index, snapshot, err)
	}
	defer out.BlockData.Close()
	b.data = make([]byte, blockBytes)
	n, err := io.ReadFull(out.BlockData, b.data)
	if err != nil {
		return b, fmt.Errorf("block %d of %s: %d of %d bytes came: %w", index, snapshot, n, blockBytes, err)
	}
	b.sum = sha256.Sum256(b.data)
	if got := base64.StdEncoding.EncodeToString(b.sum[:]); got != aws.ToString(out.Checksum) {
		return b, fmt.Errorf("block %d of %s: %w: %s, the bytes give %s", index, snapshot, errChecksum, aws.ToString(out.Checksum), got)
	}
	return b, nil
}
