package capture

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/ebs/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/capture/diskimage"
	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/evidence"
)

// madeUp is a snapshot behind the SDK: every step-th of its blocks is there.
type madeUp struct {
	blocks, step int64
	latency      time.Duration // of a block
	content      [][]byte      // of the blocks, one after the other
	sums         []string
}

func newMadeUp(bytes, step int64, latency time.Duration, content func() []byte) *madeUp {
	v := &madeUp{blocks: bytes / blockBytes, step: step, latency: latency}
	for range 64 { // more than the processor's caches hold
		b := content()
		sum := sha256.Sum256(b)
		v.content, v.sums = append(v.content, b), append(v.sums, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return v
}

func (v *madeUp) stored() int64 { return (v.blocks + v.step - 1) / v.step }

// config answers in place of the network, below retries and signing.
func (v *madeUp) config() aws.Config {
	return aws.Config{
		Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
		APIOptions: []func(*middleware.Stack) error{func(s *middleware.Stack) error {
			var in any
			if err := s.Initialize.Add(middleware.InitializeMiddlewareFunc("Input",
				func(ctx context.Context, i middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
					in = i.Parameters
					return next.HandleInitialize(ctx, i)
				}), middleware.After); err != nil {
				return err
			}
			return s.Finalize.Add(middleware.FinalizeMiddlewareFunc("Answer",
				func(ctx context.Context, _ middleware.FinalizeInput, _ middleware.FinalizeHandler) (out middleware.FinalizeOutput, meta middleware.Metadata, err error) {
					out.Result, err = v.answer(ctx, in)
					return out, meta, err
				}), middleware.After)
		}},
	}
}

func (v *madeUp) answer(ctx context.Context, in any) (any, error) {
	switch in := in.(type) {
	case *ebs.ListSnapshotBlocksInput:
		out := &ebs.ListSnapshotBlocksOutput{BlockSize: aws.Int32(blockBytes)}
		from := int64(aws.ToInt32(in.StartingBlockIndex))
		if in.NextToken != nil {
			_, _ = fmt.Sscan(*in.NextToken, &from)
		}
		for from = (from + v.step - 1) / v.step * v.step; from < v.blocks && len(out.Blocks) < blocksPerPage; from += v.step {
			out.Blocks = append(out.Blocks, types.Block{BlockIndex: aws.Int32(int32(from)), BlockToken: aws.String("token")})
		}
		if from < v.blocks {
			out.NextToken = aws.String(fmt.Sprint(from))
		}
		return out, nil
	case *ebs.GetSnapshotBlockInput:
		if err := (clock.Wall{}).Sleep(ctx, v.latency); err != nil {
			return nil, err
		}
		i := int64(*in.BlockIndex) / v.step % int64(len(v.content))
		return &ebs.GetSnapshotBlockOutput{BlockData: io.NopCloser(bytes.NewReader(v.content[i])), Checksum: &v.sums[i], DataLength: aws.Int32(blockBytes)}, nil
	}
	return nil, fmt.Errorf("%T", in)
}

// sink is a store that keeps nothing, and sums what vault.S3 does: small objects, but no parts, whose sums it is given.
type sink struct {
	evidence.Store
	bytes atomic.Int64
}

func (s *sink) Put(_ context.Context, key string, r io.Reader, _ evidence.PutOptions) (evidence.Object, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return evidence.Object{Key: key, Bytes: n, SHA256: fmt.Sprintf("%x", h.Sum(nil))}, err
}

func (s *sink) Begin(_ context.Context, key string, _ evidence.PutOptions) (evidence.Upload, error) {
	return evidence.Upload{Key: key, ID: "1"}, nil
}

func (s *sink) Part(_ context.Context, _ evidence.Upload, p evidence.Part, body io.ReadSeeker) (evidence.Part, error) {
	n, err := io.Copy(io.Discard, body)
	if s.bytes.Add(n); err != nil || n != p.Bytes {
		return p, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return p, nil
}

func (s *sink) Parts(context.Context, evidence.Upload) ([]evidence.Part, error) {
	return nil, evidence.ErrNotFound
}

func (s *sink) Complete(_ context.Context, u evidence.Upload, parts []evidence.Part) (evidence.Object, error) {
	return evidence.Object{Key: u.Key, Bytes: s.bytes.Load(), Mode: "GOVERNANCE"}, nil
}

// export stores the volume.
func (v *madeUp) export(ctx context.Context, hashed bool) error {
	buffers := new(diskimage.Buffers)
	src := &source{buffers: buffers, encoder: diskimage.NewEncoder(), client: ebs.NewFromConfig(v.config()), clock: clock.Wall{}, snapshot: "snap-1"}
	_, _, err := diskimage.Write(ctx, diskimage.Options{
		Store: &sink{}, Buffers: buffers, Key: func(name string) string { return name }, Hash: hashed,
		Image:  evidence.Image{Item: "img", Bytes: v.blocks * blockBytes, SegmentBytes: diskimage.DefaultSegment},
		Record: func(context.Context, diskimage.Record) error { return nil },
	}, func(ctx context.Context, w *diskimage.Writer) error { return src.read(ctx, 0, w.Add) })
	return err
}

// incompressible is random.
func incompressible() []byte {
	b := make([]byte, blockBytes)
	_, _ = rand.NewChaCha8([32]byte{byte(rand.Int())}).Read(b)
	return b
}

// compressible is a system's log: a time, a process and a message with values of its own. The
// encoder makes it some four times smaller.
func compressible() []byte {
	messages := []string{
		"sshd[%d]: Failed password for invalid user %x from 198.51.100.%d port %d ssh2",
		"sshd[%d]: Accepted publickey for deploy: ED25519 SHA256:%x from 203.0.113.%d port %d",
		"nginx[%d]: GET /assets/%x.js HTTP/1.1 200 %d upstream_time 0.%d",
		"kernel: [%d.%x] audit: type=1400 apparmor=ALLOWED pid=%d inode=%d",
		"systemd[%d]: session-%x.scope: Deactivated successfully after %d.%ds",
		"postgres[%d]: LOG:  checkpoint complete: wrote %x buffers, %d WAL files, sync=0.%d s",
	}
	b := make([]byte, 0, blockBytes+256)
	for at := rand.IntN(1 << 30); len(b) < blockBytes; at += rand.IntN(900) {
		b = time.UnixMilli(1_790_000_000_000+int64(at)).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z ")
		b = fmt.Appendf(append(b, "ip-10-0-1-12 "...), messages[rand.IntN(len(messages))], rand.IntN(32768), rand.Uint32(), rand.IntN(256), rand.IntN(65536))
		b = append(b, '\n')
	}
	return b[:blockBytes]
}

// hashSpeed is what one core of this machine hashes, bytes a second of its time.
func hashSpeed() float64 {
	b, start := incompressible(), processorTime()
	h := sha256.New()
	const n = 1024
	for range n {
		h.Write(b)
	}
	return n * blockBytes / (processorTime() - start).Seconds()
}

// processorTime that this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak samples the memory that the process has from the system until stop is called, which
// returns the most, in bytes.
func peak(ctx context.Context) (stop func() uint64) {
	debug.FreeOSMemory()
	ctx, cancel := context.WithCancel(ctx)
	most := make(chan uint64)
	go func() {
		all := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		var top uint64
		for (clock.Wall{}).Sleep(ctx, 5*time.Millisecond) == nil {
			metrics.Read(all)
			top = max(top, all[0].Value.Uint64()-all[1].Value.Uint64())
		}
		most <- top
	}()
	return func() uint64 { cancel(); return <-most }
}

// BenchmarkExport prints, beside what every benchmark does: MB/s and blocks/s of stored blocks, of-sha256
// (MB/s by what crypto/sha256 does on one core, which is what two passes of it make of two cores),
// the same by processor time, for machines that have other work, and the peak of memory.
func BenchmarkExport(b *testing.B) {
	const mib, tib = 1 << 20, 1 << 40
	for _, c := range []struct {
		name        string
		bytes, step int64
		latency     time.Duration
		content     func() []byte
		hashed      bool
	}{
		{"dense incompressible", 1024 * mib, 1, 0, incompressible, true},
		{"dense incompressible 20ms", 1024 * mib, 1, 20 * time.Millisecond, incompressible, true},
		{"dense compressible", 1024 * mib, 1, 0, compressible, true},
		{"dense compressible 20ms", 1024 * mib, 1, 20 * time.Millisecond, compressible, true},
		{"sparse incompressible", 16 * gib, 20, 0, incompressible, false},
		{"sparse incompressible 20ms", 16 * gib, 20, 20 * time.Millisecond, incompressible, false},
		{"sparse compressible", 16 * gib, 20, 0, compressible, false},
		{"sparse incompressible hashed", 4 * gib, 20, 0, incompressible, true},
		{"sparse TiB", tib, 1024, 0, incompressible, false},
		{"16 TiB", 16 * tib, 64 * 1024, 0, incompressible, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			v := newMadeUp(c.bytes, c.step, c.latency, c.content)
			speed := hashSpeed()
			stop, start := peak(b.Context()), processorTime()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := v.export(b.Context(), c.hashed); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			rate := float64(v.stored()) * float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rate, "blocks/s")
			b.ReportMetric(rate*blockBytes/1e6, "MB/s")
			b.ReportMetric(rate*blockBytes/speed, "of-sha256")
			// The same on a machine with two cores that does nothing else, if both are always busy.
			used := (processorTime() - start).Seconds() / 2
			b.ReportMetric(float64(v.stored())*float64(b.N)*blockBytes/used/speed, "of-sha256/cpu")
			b.ReportMetric(float64(stop())/mib, "peak-MiB")
		})
	}
}
