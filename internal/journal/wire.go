package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/cordon-ir/cordon/internal/incident"
)

// The socket speaks JSON lines. A client sends one request per connection; the
// holder answers with messages, of which the last is a done or an error.

// maxRequest bounds a request, in bytes.
const maxRequest = 1 << 20

type operation string

const (
	opHello     operation = "hello"     // is anybody there?
	opRead      operation = "read"      // a page of entries
	opFollow    operation = "follow"    // entries, and progress, until either side ends
	opNote      operation = "note"      // append a note
	opApprove   operation = "approve"   // answer a step that waits
	opInterrupt operation = "interrupt" // end the run
	opPause     operation = "pause"     // let no further step begin
	opContinue  operation = "continue"  // end a pause
	opSkip      operation = "skip"      // leave out a step that has not begun
	opRetry     operation = "retry"     // try a step again that failed
)

type request struct {
	Op       operation          `json:"op"`
	From     uint64             `json:"from,omitempty"`     // read, follow
	Actor    string             `json:"actor,omitempty"`    // note, pause, continue, skip, retry
	Text     string             `json:"text,omitempty"`     // note; the reason for pause, skip, retry
	Step     string             `json:"step,omitempty"`     // approve, skip, retry
	Approval *incident.Approval `json:"approval,omitempty"` // approve
}

// message has exactly one field set; Hint and Seq may go with Error.
type message struct {
	Entry    json.RawMessage    `json:"entry,omitempty"` // as it is stored
	Progress *incident.Progress `json:"progress,omitempty"`
	Done     bool               `json:"done,omitempty"`
	Error    string             `json:"error,omitempty"`
	Hint     string             `json:"hint,omitempty"`
	Seq      *uint64            `json:"seq,omitempty"` // of the entry that a *VerifyError names
}

func failure(err error) message {
	m := message{Error: err.Error()}
	var hint *incident.HintError
	if errors.As(err, &hint) {
		m.Hint = hint.Hint
	}
	var wrong *VerifyError
	if errors.As(err, &wrong) {
		m.Error, m.Seq = wrong.Reason, &wrong.Seq
	}
	return m
}

// err is the error that failure was made from, as far as a client tells errors apart.
func (m message) err() error {
	if m.Seq != nil {
		return &VerifyError{Seq: *m.Seq, Reason: m.Error}
	}
	err := errors.New(m.Error)
	if m.Hint == "" {
		return err
	}
	return incident.WithHint(err, m.Hint)
}

// parseRequest reads a request and refuses one that it does not understand to
// the last field.
func parseRequest(line []byte) (request, error) {
	var r request
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return request{}, fmt.Errorf("request: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return request{}, errors.New("request: something stands after it")
	}
	return r, r.check()
}

func (r request) check() error {
	want := request{Op: r.Op}
	switch r.Op {
	case opHello, opInterrupt:
	case opRead, opFollow:
		want.From = r.From
	case opNote:
		want.Actor, want.Text = r.Actor, r.Text
		if r.Text == "" {
			return errors.New("request: a note without text")
		}
	case opPause:
		want.Actor, want.Text = r.Actor, r.Text
	case opContinue:
		want.Actor = r.Actor
	case opSkip, opRetry:
		want.Actor, want.Text, want.Step = r.Actor, r.Text, r.Step
		if r.Step == "" {
			return fmt.Errorf("request: no step to %s", r.Op)
		}
	case opApprove:
		want.Step, want.Approval = r.Step, r.Approval
		if r.Approval == nil {
			return errors.New("request: an approval is missing")
		}
	default:
		return fmt.Errorf("request: unknown operation %q", r.Op)
	}
	if r != want {
		return fmt.Errorf("request: a field that %s does not take", r.Op)
	}
	return nil
}

// wire is one end of a connection.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
}

func newWire(conn net.Conn) *wire { return &wire{conn, bufio.NewReader(conn)} }

func (w *wire) send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.conn.Write(append(b, '\n'))
	return err
}

// sendEntries writes entries byte for byte as they are stored: json.Marshal
// would escape them anew.
func (w *wire) sendEntries(page []record) error {
	out := bufio.NewWriter(w.conn)
	for _, r := range page {
		out.WriteString(`{"entry":`) // an error stays with the writer until Flush
		out.Write(r.raw)
		out.WriteString("}\n")
	}
	return out.Flush()
}

func (w *wire) receive() (message, error) {
	var m message
	line, err := readLine(w.in, maxEntry+64)
	if err != nil {
		return m, err
	}
	err = json.Unmarshal(line, &m)
	return m, err
}
