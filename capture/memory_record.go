package capture

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// acquisition is the stored record of a memory image.
type acquisition struct {
	Schema     string   `json:"schema"`
	Rehearsal  bool     `json:"rehearsal,omitempty"`
	Target     string   `json:"target"`
	Tool       string   `json:"tool"`
	ToolSHA256 string   `json:"tool_sha256"` // as the host computed it before it ran the tool
	Kernel     string   `json:"kernel"`
	Path       string   `json:"path"` // of the image, on the host
	SHA256     string   `json:"sha256"`
	Bytes      int64    `json:"bytes"`
	Begun      string   `json:"begun"` // by the host's clock, as Ended
	Ended      string   `json:"ended"`
	Command    string   `json:"command"`
	From       string   `json:"command_from"` // by the agent's clock, as To
	To         string   `json:"command_to"`
	Said       string   `json:"tool_said,omitempty"`
	Notes      []string `json:"notes"`
}

const (
	acquisitionSchema = "cordon.memory/1"
	maxAcquisition    = 1 << 20
)

// answer is what the script printed.
type answer struct {
	State      string `json:"state"` // done, failed, refused
	Reason     string `json:"reason"`
	Found      string `json:"found"`
	Code       int    `json:"code"`
	Kernel     string `json:"kernel"`
	ToolSHA256 string `json:"tool_sha256"`
	Bytes      int64  `json:"bytes"`
	SHA256     string `json:"sha256"`
	Begun      string `json:"begun"`
	Ended      string `json:"ended"`
}

// readAnswer takes what a host says that belongs to an intruder.
func readAnswer(printed string) (answer, error) {
	var said answer
	if err := json.Unmarshal([]byte(printed), &said); err != nil {
		return said, fmt.Errorf("the host's answer %.200q is not what the script prints: %w", printed, err)
	}
	switch said.State {
	case "refused", "failed":
		return said, nil
	case "done":
		if !hexDigest.MatchString(said.SHA256) || said.Bytes <= 0 {
			return said, fmt.Errorf("the host says that it is done, and names no image: %.200q", printed)
		}
		return said, nil
	}
	return said, fmt.Errorf("the host's answer %.200q is not what the script prints", printed)
}

// document is the record of an image that is there; otherwise it fails, and says why.
func (s answer) document(req incident.Request, in memoryInput, got *ssm.GetCommandInvocationOutput) ([]byte, error) {
	switch s.State {
	case "refused":
		known, ok := refusals[s.Reason]
		if !ok {
			known.reason = fmt.Sprintf("%.100q", s.Reason)
		}
		reason := fmt.Sprintf("%s, %s: %s; nothing was run", req.Target.Instance, in.Tool, known.reason)
		if s.Found != "" {
			reason += fmt.Sprintf(" (found %.100q)", s.Found)
		}
		return nil, incident.WithHint(&incident.RefusedError{Reason: reason}, known.hint)
	case "failed":
		what := fmt.Sprintf("ended with code %d", s.Code)
		if s.Code == 124 || s.Code == 137 { // timeout(1): ended, or killed, at the limit
			what = fmt.Sprintf("was ended at the limit of %d min", in.LimitMinutes)
		}
		return nil, incident.WithHint(fmt.Errorf("%s on %s %s, command %s: %.300q", in.Tool, req.Target.Instance, what,
			aws.ToString(got.CommandId), aws.ToString(got.StandardErrorContent)),
			fmt.Sprintf("%d bytes lie at %s on the host and are left there: a new run must name another output", s.Bytes, in.Output))
	}
	return json.MarshalIndent(acquisition{
		Schema: acquisitionSchema, Rehearsal: req.Case.Rehearsal, Target: req.Target.String(),
		Tool: in.Tool, ToolSHA256: s.ToolSHA256, Kernel: s.Kernel, Path: in.Output, SHA256: s.SHA256, Bytes: s.Bytes,
		Begun: s.Begun, Ended: s.Ended, Command: aws.ToString(got.CommandId),
		From: aws.ToString(got.ExecutionStartDateTime), To: aws.ToString(got.ExecutionEndDateTime),
		Said: strings.ToValidUTF8(aws.ToString(got.StandardErrorContent), "�"), Notes: memoryNotes,
	}, "", "  ")
}

// readAcquisition reads the stored record back: an earlier try may have stored it.
func readAcquisition(ctx context.Context, store evidence.Store, applied json.RawMessage) (rec acquisition, err error) {
	var done captured
	if err := json.Unmarshal(applied, &done); err != nil {
		return rec, err
	}
	r, err := store.Get(ctx, done.Kept[0].Key, "")
	if err != nil {
		return rec, err
	}
	defer r.Close()
	if err := json.NewDecoder(io.LimitReader(r, maxAcquisition)).Decode(&rec); err != nil {
		return rec, fmt.Errorf("record %s: %w", done.Kept[0].Key, err)
	}
	return rec, nil
}
