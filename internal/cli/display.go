package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

// display shows a run as its journal grows: for people on standard error, or
// every entry as a line of JSON on standard output.
type display struct {
	g *globals
	j *journal.Journal

	mu      sync.Mutex
	next    uint64           // first entry not shown yet
	tenths  map[string]int64 // tenths shown, by step and what
	began   map[string]begun // of long work, by the same
	clock   incident.Clock
	targets int // of the run
	steps   int
	settled int // steps, of which so many were said
	said    int
}

// begun is when long work was first heard of, and what was done of it then.
type begun struct {
	at   time.Time
	done int64
}

func newDisplay(g *globals, j *journal.Journal, p incident.Plan, clock incident.Clock) *display {
	return &display{g: g, j: j, clock: clock, next: j.Len(), tenths: make(map[string]int64), began: make(map[string]begun), targets: len(p.Targets), steps: len(p.Steps)}
}

// follow shows entries from a number on until ctx ends.
func (d *display) follow(ctx context.Context, from uint64) {
	for e, err := range d.j.Follow(ctx, from) {
		if err != nil {
			return // rest says what is wrong with the journal, if anything
		}
		d.show(e)
	}
}

// rest shows what follow had not come to when it was stopped.
func (d *display) rest() {
	d.mu.Lock()
	next := d.next
	d.mu.Unlock()
	for e, err := range d.j.Entries(next) {
		if err != nil {
			fmt.Fprintf(d.g.err, "warning: the journal can't be read to its end: %v\n", err)
			return
		}
		d.show(e)
	}
}

func (d *display) show(e incident.Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.Seq < d.next {
		return
	}
	d.next = e.Seq + 1
	if d.g.output == "json" {
		printEntryJSON(d.g.out, e)
		return
	}
	if d.g.quiet {
		return
	}
	text := entryText(e, d.g.verbose)
	if d.targets > many && !d.g.verbose {
		text = d.manyText(e, text)
	} else if d.targets > 1 && e.Step != "" && text != "" {
		text = instanceOf(e) + "  " + text
	}
	if text != "" {
		fmt.Fprintf(d.g.err, "%s  %s\n", e.Time.Format("15:04:05"), text)
	}
}

// unreached says once of each call that AWS does not answer it. That it did, its step says. Held: mu.
func (d *display) unreached(p incident.Progress) {
	if u := p.Unreached; u.Attempts == 1 && !u.Over {
		fmt.Fprintf(d.g.err, "%s  AWS can't be reached: %s%s is tried again: %s\n", u.Since.Format("15:04:05"), p.What, forStep(p.Step), u.Error)
	}
}

func forStep(step string) string {
	if step == "" {
		return ""
	}
	return " for " + step
}

// manyText is what is shown of a run on many targets: what goes wrong or asks,
// and every twentieth part of the rest.
func (d *display) manyText(e incident.Entry, text string) string {
	switch e.Type {
	case incident.EntryStepOutcome:
		d.settled++
		if o := data[incident.StepOutcome](e); o.State == incident.Failed {
			return instanceOf(e) + "  " + text
		}
		if part := d.settled * 20 / max(d.steps, 1); part > d.said {
			d.said = part
			return fmt.Sprintf("%d of %d steps are done on %d targets", d.settled, d.steps, d.targets)
		}
		return ""
	case incident.EntryStepWaiting:
		return instanceOf(e) + "  " + text
	case incident.EntryStepIntent, incident.EntryEvidence, incident.EntryCallIntent, incident.EntryCallResult, incident.EntryCallCount:
		return ""
	default:
		return text
	}
}

// instanceOf is the instance that an entry is about.
func instanceOf(e incident.Entry) string { return e.Target[strings.LastIndex(e.Target, "/")+1:] }

// progress shows long work: every tenth of it.
func (d *display) progress(p incident.Progress) {
	if d.g.quiet || d.g.output == "json" || p.Total == 0 && p.Unreached == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.Unreached != nil {
		d.unreached(p)
		return
	}
	key := p.Step + "\x00" + p.Target + "\x00" + p.What
	if _, ok := d.began[key]; !ok {
		d.began[key] = begun{d.clock.Now(), p.Done}
	}
	tenth := p.Done * 10 / p.Total
	if last, ok := d.tenths[key]; ok && last >= tenth {
		return
	}
	d.tenths[key] = tenth
	line := fmt.Sprintf("          %s: %s, %s of %s", p.Step, p.What, amount(p.Done, p.Unit), amount(p.Total, p.Unit))
	if b := d.began[key]; p.Unit == "bytes" {
		line += pace(p.Done-b.done, d.clock.Now().Sub(b.at), p.Total-p.Done)
	}
	fmt.Fprintln(d.g.err, line)
}

// amount writes bytes in binary units (IEC 80000-13) and the rest as it is.
func amount(n int64, unit string) string {
	if unit != "bytes" {
		return fmt.Sprintf("%d %s", n, unit)
	}
	const k = 1024
	switch {
	case n >= k*k*k:
		return fmt.Sprintf("%.1f GiB", float64(n)/(k*k*k))
	case n >= k*k:
		return fmt.Sprintf("%.1f MiB", float64(n)/(k*k))
	default:
		return fmt.Sprintf("%d B", n)
	}
}

// printEntryJSON prints the entry as journal export does.
func printEntryJSON(w io.Writer, e incident.Entry) {
	b, err := journal.Line(e)
	if err != nil {
		panic(err) // it came out of the journal
	}
	fmt.Fprintf(w, "%s\n", b)
}

// data reads what an entry of a known type holds. The journal checked that it
// is JSON; an entry of another version shows as empty.
func data[T any](e incident.Entry) T {
	var v T
	_ = json.Unmarshal(e.Data, &v)
	return v
}

// entryText is one line for a person; empty for entries that only matter to
// whoever looks at the whole journal.
func entryText(e incident.Entry, verbose bool) string {
	who := e.Step
	switch e.Type {
	case incident.EntryCaseOpened:
		c := data[incident.Case](e)
		return fmt.Sprintf("%scase %s opened: %s", banner(c.Rehearsal), c.ID, orElse(c.Title, "(no title)"))
	case incident.EntryCaseClosed:
		return "case closed: " + data[incident.Note](e).Text
	case incident.EntryRunStarted:
		s := data[incident.RunStarted](e)
		text := fmt.Sprintf("run %s started: %s %s, %d target(s), %d steps, plan %s", e.Run, s.Kind, s.Plan.Playbook, len(s.Plan.Targets), len(s.Plan.Steps), short(s.Plan.Digest))
		for _, l := range s.Plan.LeftOut {
			text += "\n            left out: " + l.Target.String() + ": " + l.Reason
		}
		return text
	case incident.EntryRunResumed:
		return fmt.Sprintf("run %s resumed, %d step(s) unknown", e.Run, len(data[incident.RunResumed](e).Unknown))
	case incident.EntryRunPaused:
		p := data[incident.RunPaused](e)
		return fmt.Sprintf("run %s paused by %s%s: no further step begins until 'cordon continue --case %s'", e.Run, p.By, because(p.Reason), e.Case)
	case incident.EntryRunContinued:
		return fmt.Sprintf("run %s continued by %s", e.Run, data[incident.RunContinued](e).By)
	case incident.EntryRunRefused:
		return "refused: " + data[incident.RunRefused](e).Reason
	case incident.EntryRunEnded:
		return fmt.Sprintf("run %s ended: %s", e.Run, data[incident.RunEnded](e).Outcome)
	case incident.EntryStepWaiting:
		w := data[incident.StepWaiting](e)
		return fmt.Sprintf("? %s waits for approval (%s): cordon approve --case %s %s", who, w.Impact, e.Case, who)
	case incident.EntryApproval:
		a := data[incident.Approval](e)
		return fmt.Sprintf("%s %s by %s (%s)", orElse(who, "plan "+short(a.Digest)), approvedWord(a.Approved), a.By, a.How)
	case incident.EntryStepIntent:
		return fmt.Sprintf("▶ %s: %d change(s)", who, len(data[incident.StepIntent](e).Proposal.Changes))
	case incident.EntryStepRetry:
		r := data[incident.StepRetry](e)
		return fmt.Sprintf("↻ %s is tried again, by %s%s", who, r.By, because(r.Reason))
	case incident.EntryStepOutcome:
		return outcomeText(who, data[incident.StepOutcome](e), verbose)
	case incident.EntryEvidence:
		i := data[evidence.Item](e)
		return fmt.Sprintf("  evidence %s: %s", i.ID, i.Location)
	case incident.EntryCleanRoom:
		return fmt.Sprintf("  clean room %s: %s", data[incident.CleanRoom](e).Name, data[incident.CleanRoom](e).Event)
	case incident.EntryNote:
		return fmt.Sprintf("note by %s: %s", e.Actor, data[incident.Note](e).Text)
	case incident.EntryCheckpoint:
		if c := data[incident.Checkpoint](e); verbose {
			return fmt.Sprintf("checkpoint of %d entries: %s", c.Size, orElse(c.Location, "not in the evidence store"))
		}
	case incident.EntryAnchorOwed:
		return "the checkpoint could not be put into the evidence store yet: " + data[incident.AnchorOwed](e).Reason
	case incident.EntryClockSet:
		return data[incident.ClockSet](e).String()
	case incident.EntryCallIntent:
		if c := data[incident.CallIntent](e); verbose {
			return fmt.Sprintf("    → %s:%s", c.Service, c.Operation)
		}
	case incident.EntryCallResult:
		if c := data[incident.CallResult](e); verbose || c.ErrorCode != "" {
			return fmt.Sprintf("    ← %s %s", orElse(c.ErrorCode, "ok"), c.RequestID)
		}
	case incident.EntryCallCount:
		if verbose {
			reads := 0
			for _, n := range data[incident.CallCount](e).Reads {
				reads += n
			}
			return fmt.Sprintf("    %s has read AWS %d times", orElse(who, "the run"), reads)
		}
	}
	return ""
}

func outcomeText(who string, o incident.StepOutcome, verbose bool) string {
	symbol := map[incident.StepState]string{
		incident.Succeeded: "✓", incident.Reverted: "↩", incident.Failed: "✗", incident.Skipped: "–", incident.Unknown: "?",
	}[o.State]
	text := fmt.Sprintf("%s %s: %s", symbol, who, o.State)
	switch {
	case o.Error != "":
		text += ": " + o.Error
	case o.Reason != "":
		text += ": " + o.Reason
	}
	for _, seen := range o.Verification.Observed {
		text += "\n            " + seen
	}
	var cuts strings.Builder
	writeCuts(&cuts, "            ", o.Verification.Cuts, false, verbose)
	if cuts.Len() > 0 {
		text += "\n" + strings.TrimRight(cuts.String(), "\n")
	}
	if o.Hint != "" {
		text += "\n            hint: " + o.Hint
	}
	return text
}

// because puts a reason, where one was given, behind what somebody did.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

func approvedWord(yes bool) string {
	if yes {
		return "approved"
	}
	return "rejected"
}

// short is the beginning of a digest: enough to tell two apart on a screen.
func short(digest string) string {
	const n = len("sha256:") + 12
	if len(digest) > n {
		return digest[:n] + "…"
	}
	return digest
}
