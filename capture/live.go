package capture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
)

// live asks the running instance, through its SSM agent, for what a snapshot
// does not hold: sockets, processes, who is logged in.
type live struct{ collector }

// maxLiveMinutes: containment waits behind it.
const maxLiveMinutes = 30

// liveNotes tell what asking a running host means for the evidence.
var liveNotes = []string{
	"the instance's agent starts processes and writes its own logs and working files under its data folder: what is volatile changes a little, and the disk of the instance too",
	"what a compromised instance says of itself can be false: compare it with the disk images and the flow logs",
	"after a crash, or a lost answer, a read-only command can run a second time",
}

func (live) Spec() incident.Spec {
	return incident.Spec{
		Name:    "capture.live",
		Summary: "Sockets, processes, users and other volatile state of the running instance, by read-only commands through its SSM agent, into the evidence store",
		Impact:  incident.Additive,
		Inputs: []incident.Field{
			{Name: "limit_minutes", Type: incident.Integer, Default: 5, Description: "how long it may take in all, 1 to 30; what is not there by then is left out"},
			{Name: "allow_unlocked", Type: incident.Boolean, Default: false, Description: "keep the evidence also where the store can't lock it"},
		},
		Outputs: []incident.Field{{Name: "items", Type: incident.Strings, Description: "IDs of the evidence items"}},
		Permissions: append([]string{
			"ssm:DescribeInstanceInformation", "ssm:ListCommands", "ssm:SendCommand", "ssm:GetCommandInvocation", "ssm:CancelCommand",
		}, storePermissions...),
		Example: "- id: live\n  action: capture.live\n  on_failure: continue\n  with:\n    limit_minutes: 2\n",
		Timeout: (maxLiveMinutes + 5) * time.Minute,
	}
}

type liveInput struct {
	LimitMinutes  int  `json:"limit_minutes"`
	AllowUnlocked bool `json:"allow_unlocked"`
}

func (in liveInput) check() error {
	if in.LimitMinutes < 1 || in.LimitMinutes > maxLiveMinutes {
		return fmt.Errorf("limit_minutes is %d: want 1 to %d", in.LimitMinutes, maxLiveMinutes)
	}
	return nil
}

func (a live) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	var in liveInput
	cfg, store, err := a.open(ctx, req, &in)
	if err != nil {
		return incident.Proposal{}, err
	}
	notes, err := checkStore(ctx, store, in.AllowUnlocked)
	if err != nil {
		return incident.Proposal{}, err
	}
	notes = append(notes, liveNotes...)
	// Whether an agent answers can change until the step begins, and is no reason
	// to refuse the rest: it is a note, never a change that was approved.
	if _, err := findAgent(ctx, ssm.NewFromConfig(cfg), req.Clock, req.Target.Instance); err != nil {
		if ctx.Err() != nil {
			return incident.Proposal{}, err
		}
		notes = append(notes, "nothing would be captured now: "+err.Error())
	}
	return incident.Proposal{
		Impact: incident.Additive, Notes: notes,
		Changes: []incident.Change{
			{
				Resource: store.String(), What: "evidence of " + req.Target.Instance, Before: "none",
				After: fmt.Sprintf("live response, where an agent answers, for %d min at most", in.LimitMinutes),
			},
			{Resource: req.Target.Instance, What: "commands run by its SSM agent", Before: "none", After: "read-only ones"},
		},
	}, nil
}

func (a live) Apply(ctx context.Context, req incident.Request, _ incident.Proposal) (incident.Result, error) {
	var in liveInput
	cfg, store, err := a.open(ctx, req, &in)
	if err != nil {
		return incident.Result{}, err
	}
	deadline := req.Clock.Now().Add(time.Duration(in.LimitMinutes) * time.Minute)
	host, err := findAgent(ctx, ssm.NewFromConfig(cfg), req.Clock, req.Target.Instance)
	if err == nil {
		err = host.findEarlier(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return incident.Result{}, ctx.Err()
	case err != nil && !req.Resumed && len(req.Recorded(incident.EntryEvidence)) == 0:
		return nothingLive(ctx, req, err)
	}
	var pieces []piece
	for _, x := range artefactsOf(host) {
		p := livePiece(req, host, x, deadline)
		if err != nil { // nobody to ask any more, but what an earlier try stored is there
			p.take = func(context.Context) ([]byte, error) { return nil, err }
		}
		pieces = append(pieces, p)
	}
	return keepAll(ctx, req, store, pieces, in.AllowUnlocked)
}

// nothingLive: an instance without an agent is an ordinary one, and no failure.
func nothingLive(ctx context.Context, req incident.Request, reason error) (incident.Result, error) {
	done := captured{Missing: []string{"live response " + errNotTaken.Error() + ": " + reason.Error()}}
	if err := req.Record(ctx, incident.EntryNote, incident.Note{Text: req.Target.Instance + ": " + done.Missing[0]}); err != nil {
		return incident.Result{}, err
	}
	applied, err := json.Marshal(done)
	return incident.Result{Outputs: map[string]any{"items": done.ids()}, Applied: applied}, err
}

// livePiece takes one artefact. The item's notes are those of the document, which
// has them too: after a crash between storing and journaling it alone tells.
func livePiece(req incident.Request, host *agent, x artefact, deadline time.Time) piece {
	var notes []string
	return piece{
		name: "live-" + x.name, ext: ".txt", contentType: "text/plain; charset=utf-8", kind: evidence.KindLog,
		notes: func() []string { return notes },
		take: func(ctx context.Context) ([]byte, error) {
			left := deadline.Sub(req.Clock.Now())
			if left <= 0 {
				return nil, errors.New("the time limit was reached")
			}
			out, err := host.run(ctx, "cordon "+req.Token+" "+x.name, host.script(x), min(left, artefactLimit))
			if err != nil {
				return nil, err
			}
			notes = out.notes()
			return liveDocument(req, host, x, out), nil
		},
	}
}

// notes tell what the text lacks.
func (o output) notes() []string {
	var notes []string
	if o.cut {
		notes = append(notes, "cut: Systems Manager returns the first 24,000 characters of a command's output, here of its compressed output; the rest is not kept anywhere")
	}
	if o.plain {
		notes = append(notes, "the instance did not compress the output as it was asked to: this is what the agent returned, of which Systems Manager keeps the first 24,000 characters")
	}
	if o.code != 0 {
		notes = append(notes, fmt.Sprintf("the script ended with code %d", o.code))
	}
	return notes
}

// liveDocument is the stored text: how it came about, an empty line, and what the host printed.
func liveDocument(req incident.Request, host *agent, x artefact, out output) []byte {
	var b bytes.Buffer
	line := func(name, value string) { fmt.Fprintf(&b, "# %s: %s\n", name, value) }
	line("cordon live response", x.name)
	if req.Case.Rehearsal {
		line("rehearsal", "the account is simulated")
	}
	line("instance", req.Target.String())
	line("ssm", fmt.Sprintf("%s, command %s, %s, code %d", host.document(), out.command, out.status, out.code))
	line("ran", out.from+" to "+out.to)
	line("script", x.script)
	for _, n := range out.notes() {
		line("note", n)
	}
	b.WriteByte('\n')
	b.Write(out.text)
	return b.Bytes()
}
