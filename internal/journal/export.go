package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/gowebpki/jcs"

	"github.com/cordon-ir/cordon/internal/incident"
)

// exportEnd is the last line of an export.
type exportEnd struct {
	Checkpoint string `json:"checkpoint"`
}

// Export writes the case in dir, whoever holds it, as JSON lines: every entry
// as it is stored, then the last checkpoint. It does not verify.
func Export(ctx context.Context, dir string, w io.Writer) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	// The checkpoint first: then what it covers is in what is read after it.
	last, checkpointErr := readCheckpoint(dir)
	out := bufio.NewWriter(w)
	for from := uint64(0); ; {
		page, err := readAny(ctx, dir, from)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			out.Write(r.raw) // an error stays with the writer until Flush
			out.WriteByte('\n')
		}
		from += uint64(len(page))
	}
	if checkpointErr != nil {
		return errors.Join(checkpointErr, out.Flush())
	}
	line, err := endLine(last)
	if err != nil {
		return err
	}
	out.Write(line)
	out.WriteByte('\n')
	return out.Flush()
}

func endLine(c incident.Checkpoint) ([]byte, error) {
	b, err := json.Marshal(exportEnd{c.Note})
	if err != nil {
		return nil, err
	}
	return jcs.Transform(b)
}

// VerifyExport proves an export as Verify proves a directory, but for the
// directory's name.
func VerifyExport(r io.Reader, anchors ...incident.Checkpoint) (Report, error) {
	v := &verifier{}
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := readLine(in, maxEntry)
		if err != nil {
			return v.report(), v.fail("is missing: the export ends without a checkpoint", err)
		}
		var end exportEnd
		if !bytes.HasPrefix(line, []byte(`{"checkpoint":`)) {
			if err := v.add(line); err != nil {
				return v.report(), err
			}
			continue
		}
		last := incident.Checkpoint{}
		if err := json.Unmarshal(line, &end); err != nil {
			return v.report(), v.fail("is followed by no checkpoint", err)
		}
		last.Note = end.Checkpoint
		if want, err := endLine(last); err != nil || !bytes.Equal(line, want) {
			return v.report(), v.fail("should be the checkpoint, which is not in canonical form", err)
		}
		if _, err := in.ReadByte(); err != io.EOF {
			return v.report(), v.fail("stands after the export's end", err)
		}
		err = v.finish(last, anchors)
		return v.report(), err
	}
}

// readLine returns the next line without its newline. A line longer than limit,
// or one that the end of the input cuts off, is an error.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit {
			return nil, fmt.Errorf("a line is longer than %d bytes", limit)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err == io.EOF && len(line) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		return line[:len(line)-1], nil
	}
}

// Line is the entry as an export writes it, without the line's end.
func Line(e incident.Entry) ([]byte, error) { return seal(e) }
