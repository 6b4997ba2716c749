package capture

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"golang.org/x/sync/errgroup"

	"github.com/cordon-ir/cordon/capture/diskimage"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	blockBytes = evidence.BlockBytes
	// blocksPerPage is the most that ListSnapshotBlocks gives.
	blocksPerPage = 10_000
	// parallelBlocks are on their way at once, up to 1 MiB each: at 48 ms a block still
	// the 1,000 a second that AWS allows for one snapshot.
	parallelBlocks = 48
	// blockTries: a block whose bytes don't match its checksum is read again.
	blockTries = 3
	// readLimit is how long one request may take, and its block to come; patience is how long AWS
	// may go on failing one, by throttling or otherwise, before the export fails.
	readLimit, patience  = 2 * time.Minute, 15 * time.Minute
	firstPause, maxPause = time.Second, 30 * time.Second
)

// source is a snapshot's blocks: all of them, or those that differ from another
// snapshot of the same volume.
type source struct {
	client   *ebs.Client
	clock    incident.Clock
	snapshot string
	since    string // the other snapshot; empty: all blocks
	// For read:
	encoder *diskimage.Encoder
	buffers *diskimage.Buffers
}

// listed is one block as AWS lists it.
type listed struct {
	index int32
	token *string // nil: the other snapshot has the block, this one is zeros there
}

// list yields the blocks from an index on, in ascending order. A page may be
// empty and still not be the last.
func (s *source) list(ctx context.Context, from int32, yield func(listed) error) error {
	next, token := from, (*string)(nil)
	for {
		var page blocksPage
		err := s.patiently(ctx, "listing the blocks of "+s.snapshot, func(ctx context.Context) (err error) {
			page, err = s.page(ctx, next, token)
			if token != nil && errorCode(err) == "ValidationException" {
				// A page token lives for 60 minutes: list anew from where we are.
				page, err = s.page(ctx, next, nil)
			}
			return err
		})
		if err != nil {
			return err
		}
		if page.blockBytes != blockBytes {
			return fmt.Errorf("snapshot %s: blocks of %d bytes; only %d are known", s.snapshot, page.blockBytes, blockBytes)
		}
		for _, b := range page.blocks {
			if b.index < next {
				return fmt.Errorf("snapshot %s: AWS listed block %d where %d or a later one comes next", s.snapshot, b.index, next)
			}
			if err := yield(b); err != nil {
				return err
			}
			next = b.index + 1
		}
		if aws.ToString(page.next) == "" {
			return nil
		}
		token = page.next
	}
}

type blocksPage struct {
	blocks     []listed
	next       *string
	blockBytes int32
}

// page reads one page: the token's, or the one that begins with a block.
func (s *source) page(ctx context.Context, from int32, token *string) (blocksPage, error) {
	starting := &from
	if token != nil || from == 0 {
		starting = nil
	}
	if s.since == "" {
		out, err := s.client.ListSnapshotBlocks(ctx, &ebs.ListSnapshotBlocksInput{
			SnapshotId: &s.snapshot, MaxResults: aws.Int32(blocksPerPage), StartingBlockIndex: starting, NextToken: token,
		})
		if err != nil {
			return blocksPage{}, err
		}
		p := blocksPage{next: out.NextToken, blockBytes: aws.ToInt32(out.BlockSize), blocks: make([]listed, len(out.Blocks))}
		for i, b := range out.Blocks {
			p.blocks[i] = listed{aws.ToInt32(b.BlockIndex), b.BlockToken}
		}
		return p, nil
	}
	out, err := s.client.ListChangedBlocks(ctx, &ebs.ListChangedBlocksInput{
		FirstSnapshotId: &s.since, SecondSnapshotId: &s.snapshot, MaxResults: aws.Int32(blocksPerPage), StartingBlockIndex: starting, NextToken: token,
	})
	if err != nil {
		return blocksPage{}, err
	}
	p := blocksPage{next: out.NextToken, blockBytes: aws.ToInt32(out.BlockSize), blocks: make([]listed, len(out.ChangedBlocks))}
	for i, b := range out.ChangedBlocks {
		p.blocks[i] = listed{aws.ToInt32(b.BlockIndex), b.SecondBlockToken}
	}
	return p, nil
}

// count is how many blocks there are to read.
func (s *source) count(ctx context.Context) (n int64, err error) {
	err = s.list(ctx, 0, func(b listed) error {
		if b.token != nil {
			n++
		}
		return nil
	})
	return n, err
}

// reading is a block on its way.
type reading struct {
	diskimage.Block
	token *string
	frame []byte // memory of the encoder's
	done  chan struct{}
}

// read reads the blocks from an index on, many at once, and yields them in
// order, checked and encoded. Memory is bounded: so many blocks are on their way, and the
// others are where yield has put them.
func (s *source) read(ctx context.Context, from int64, yield func(diskimage.Block) error) error {
	g, ctx := errgroup.WithContext(ctx)
	inOrder, work := make(chan *reading, parallelBlocks), make(chan *reading, parallelBlocks)
	slots := make(chan struct{}, parallelBlocks)
	for range parallelBlocks { // the SDK's deep stacks grow once for each of them, not for each block
		g.Go(func() error {
			for r := range work {
				if err := s.block(ctx, r); err != nil {
					return err
				}
				close(r.done)
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(inOrder)
		defer close(work)
		return s.list(ctx, int32(from), func(l listed) error {
			r := &reading{Block: diskimage.Block{Index: int64(l.index), Sum: evidence.ZeroBlock()}, token: l.token, done: make(chan struct{})}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			inOrder <- r // as many as there are slots: there is room, here and in work
			if l.token == nil {
				close(r.done)
			} else {
				work <- r
			}
			return nil
		})
	})
	g.Go(func() error {
		for r := range inOrder {
			select {
			case <-r.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if err := yield(r.Block); err != nil {
				return err
			}
			if r.frame != nil {
				s.buffers.Put(r.frame)
			}
			<-slots
		}
		return nil
	})
	return g.Wait()
}

// errChecksum: AWS's checksum of a block is not that of the bytes that came.
var errChecksum = errors.New("the bytes do not match the checksum that AWS gives")

// block reads one block, checks it against its SHA-256 and encodes it.
func (s *source) block(ctx context.Context, into *reading) error {
	wrong := 0
	err := s.patiently(ctx, fmt.Sprintf("block %d of %s", into.Index, s.snapshot), func(ctx context.Context) error {
		err := s.blockOnce(ctx, into)
		if errors.Is(err, errChecksum) {
			if wrong++; wrong == blockTries {
				return &finalError{err}
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	into.frame = s.buffers.Get()
	if !s.encoder.Encode(&into.Block, into.frame) {
		s.buffers.Put(into.frame)
		into.frame = nil
	}
	return nil
}

func (s *source) blockOnce(ctx context.Context, into *reading) error {
	out, err := s.client.GetSnapshotBlock(ctx, &ebs.GetSnapshotBlockInput{
		SnapshotId: &s.snapshot, BlockIndex: aws.Int32(int32(into.Index)), BlockToken: into.token,
	})
	if err != nil {
		return err
	}
	defer out.BlockData.Close()
	if into.Raw == nil { // not before: most of the time a block takes is waiting for it to come
		raw := s.buffers.Get()
		into.Raw, into.Done = raw, func() { s.buffers.Put(raw) }
	}
	n, err := io.ReadFull(out.BlockData, into.Raw)
	if err != nil {
		return fmt.Errorf("%d of %d bytes came: %w", n, blockBytes, err)
	}
	into.Sum = sha256.Sum256(into.Raw)
	if got := base64.StdEncoding.EncodeToString(into.Sum[:]); got != aws.ToString(out.Checksum) {
		return fmt.Errorf("%w: %s, the bytes give %s", errChecksum, aws.ToString(out.Checksum), got)
	}
	return nil
}

// finalError is not worth another try.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// patiently tries again what AWS throttles, what fails on its side and what
// gets lost on the way, longer than the SDK does: an export takes hours, and AWS has bad minutes.
// What it answers about the request itself is final.
func (s *source) patiently(ctx context.Context, what string, try func(context.Context) error) error {
	deadline, pause := s.clock.Now().Add(patience), firstPause
	for {
		limited, cancel := s.clock.WithTimeout(ctx, readLimit)
		err := try(limited)
		cancel()
		var final *finalError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &final), !mayPass(err):
			return fmt.Errorf("%s: %w", what, err)
		case !s.clock.Now().Before(deadline):
			return incident.WithHint(fmt.Errorf("%s: still failing after %s: %w", what, patience, err),
				"once AWS answers again, cordon resume goes on from the last checkpoint")
		}
		if err := s.clock.Sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, maxPause)
	}
}

// mayPass reports whether the same request may succeed later.
func mayPass(err error) bool {
	switch errorCode(err) { // Amazon EBS direct APIs reference, "GetSnapshotBlock"
	case "InternalServerException", "ServiceQuotaExceededException", "RequestThrottledException":
		return true
	}
	return mayHaveHappened(err) || isThrottle(err)
}
