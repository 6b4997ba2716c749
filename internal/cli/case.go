package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

func newCase(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "case", Short: "Open, list, show and close cases"}
	cmd.AddCommand(newCaseOpen(g), newCaseList(g), newCaseShow(g), newCaseExposure(g), newCaseClose(g))
	return cmd
}

func newCaseOpen(g *globals) *cobra.Command {
	var c incident.Case
	cmd := &cobra.Command{
		Use:   "open ID",
		Short: "Open a case: its journal begins here",
		Args:  exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.ID = args[0]
			return runCaseOpen(cmd.Context(), g, c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Title, "title", "", "what happened, in a line")
	f.StringVar(&c.Severity, "severity", "", "severity, in your words")
	f.StringVar(&c.Ticket, "ticket", "", "the ticket that tracks it")
	f.StringVar(&c.Lead, "lead", "", "who leads the response")
	f.StringVar(&c.Retention.Mode, "retention-mode", "", "governance or compliance, for this case's evidence (default: the configuration's)")
	f.IntVar(&c.Retention.Days, "retention-days", 0, "days that this case's evidence is kept from deletion (default: the configuration's)")
	f.BoolVar(&c.Retention.Hold, "legal-hold", false, "put a legal hold on everything that is stored for this case")
	return cmd
}

func runCaseOpen(ctx context.Context, g *globals, c incident.Case) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	if err := w.checkRetention(c.Retention); err != nil {
		return err
	}
	j, err := w.openNewCase(ctx, c)
	if err != nil {
		return err
	}
	c = j.Case()
	if err := j.Close(); err != nil {
		return err
	}
	if g.output == "json" {
		return g.printJSON(c)
	}
	fmt.Fprintf(g.out, "%scase %s is open, in %s\n", banner(c.Rehearsal), c.ID, w.mustCaseDir(c.ID))
	return nil
}

// checkRetention refuses what no store can keep.
func (w *workspace) checkRetention(r incident.Retention) error {
	const longest = 36500 // Amazon S3's (API reference, DefaultRetention)
	switch {
	case r.Mode != "" && r.Mode != "governance" && r.Mode != "compliance":
		return usagef("--retention-mode %q: want governance or compliance", r.Mode)
	case r.Days < 0 || r.Days > longest:
		return usagef("--retention-days %d: want 1 to %d", r.Days, longest)
	case r.Mode != "" && r.Days == 0 && w.config.Evidence.Days == 0:
		return usagef("--retention-mode needs --retention-days: the configuration names no days")
	case r != (incident.Retention{}) && w.config.Evidence.Directory != "":
		return usagef("the evidence store is a directory, which keeps no retention and no legal hold")
	}
	return nil
}

// openNewCase makes the case and keeps hold of its journal.
func (w *workspace) openNewCase(ctx context.Context, c incident.Case) (*journal.Journal, error) {
	dir, err := w.caseDir(c.ID)
	if err != nil {
		return nil, err
	}
	outliveReader()
	key, err := journal.LoadKey(w.home)
	if err != nil {
		return nil, w.explainHome(err)
	}
	c.Opened, c.Rehearsal = w.clock.Now(), w.isRehearsal()
	j, err := journal.Create(ctx, dir, c, key, w.clock)
	if errors.Is(err, journal.ErrExists) {
		return nil, incident.WithHint(usagef("case %s exists already", c.ID), "'cordon case show "+c.ID+"' shows it")
	}
	return j, err
}

// mustCaseDir is for IDs that have passed caseDir already.
func (w *workspace) mustCaseDir(id string) string {
	dir, err := w.caseDir(id)
	if err != nil {
		panic(err)
	}
	return dir
}

// sayRehearsal heads a screen that shows entry after entry.
func sayRehearsal(to io.Writer, c incident.Case) {
	if c.Rehearsal {
		fmt.Fprintf(to, "REHEARSAL  case %s: nothing here touches AWS\n", c.ID)
	}
}

// banner goes before whatever a screen says of a rehearsal.
func banner(rehearsal bool) string {
	if rehearsal {
		return "REHEARSAL  "
	}
	return ""
}

// caseSummary is one case in case list and case show. Its JSON is stable.
type caseSummary struct {
	incident.Case
	Closed   bool         `json:"closed"`
	Live     bool         `json:"live"` // a process holds it
	Holder   int          `json:"holder_pid,omitempty"`
	Entries  int          `json:"entries"`
	Runs     []runSummary `json:"runs,omitempty"`
	Evidence int          `json:"evidence"`
	// CleanRooms are the names of those that are not closed.
	CleanRooms []string `json:"clean_rooms,omitempty"`
	Error      string   `json:"error,omitempty"` // why it can't be read
}

type runSummary struct {
	ID       string             `json:"run"`
	Kind     incident.RunKind   `json:"kind"`
	Playbook string             `json:"playbook,omitempty"`
	Outcome  incident.Outcome   `json:"outcome,omitempty"` // empty: not ended
	Started  time.Time          `json:"started"`
	Steps    map[string]int     `json:"steps"` // by state
	Targets  []incident.Target  `json:"targets"`
	LeftOut  []incident.LeftOut `json:"left_out,omitempty"`
	// Paused says who holds up further steps, and why.
	Paused *incident.RunPaused `json:"paused,omitempty"`
	// Running, Waiting, Unknown and Failed are the steps that a responder asks for first, as ID@account/region/instance.
	Running []string `json:"running,omitempty"`
	Waiting []string `json:"waiting,omitempty"`
	Unknown []string `json:"unknown,omitempty"`
	Failed  []string `json:"failed,omitempty"`

	finished bool
}

// count puts the run's steps under their states.
func (s *runSummary) count(run *incident.RunState) {
	s.Steps = make(map[string]int)
	for _, step := range run.Plan.Steps {
		state := run.Steps[step.Key()].State
		s.Steps[state.String()]++
		list := map[incident.StepState]*[]string{
			incident.Running: &s.Running, incident.Waiting: &s.Waiting, incident.Unknown: &s.Unknown, incident.Failed: &s.Failed,
		}[state]
		if list != nil {
			*list = append(*list, step.Key().String())
		}
	}
}

func (w *workspace) summarise(ctx context.Context, id string) caseSummary {
	r, err := w.readAny(ctx, id)
	if err != nil {
		return caseSummary{Case: incident.Case{ID: id}, Error: err.Error()}
	}
	s := caseSummary{
		Case: r.state.Case, Closed: r.state.Closed, Live: journal.Live(ctx, r.dir),
		Entries: len(r.entries), Evidence: len(r.custody.Items),
	}
	if s.Live {
		s.Holder = journal.Holder(r.dir)
	} else {
		r.state.Abandon() // what was under way is unknown
	}
	rooms, err := cleanroom.Rooms(r.entries)
	if err != nil {
		s.Error = err.Error()
	}
	for _, room := range rooms {
		if room.Event != "closed" {
			s.CleanRooms = append(s.CleanRooms, room.Name)
		}
	}
	for _, run := range r.state.Runs {
		sum := runSummary{
			ID: run.ID, Kind: run.Kind, Playbook: run.Plan.Playbook, Outcome: run.Outcome,
			Started: run.Started, Targets: run.Plan.Targets, LeftOut: run.Plan.LeftOut, Paused: run.Paused,
			finished: run.Finished(),
		}
		sum.count(run)
		s.Runs = append(s.Runs, sum)
	}
	return s
}

func newCaseList(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the cases", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := g.open()
			if err != nil {
				return err
			}
			ids, err := w.cases()
			if err != nil {
				return w.explainHome(err)
			}
			list := make([]caseSummary, 0, len(ids))
			for _, id := range ids {
				list = append(list, w.summarise(cmd.Context(), id))
			}
			if g.output == "json" {
				return g.printJSON(list)
			}
			if len(list) == 0 {
				fmt.Fprintln(g.err, "no cases: 'cordon case open ID' opens one")
				return nil
			}
			return printCases(g, list)
		},
	}
}

func printCases(g *globals, list []caseSummary) error {
	t := tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "CASE\tOPENED\tSTATE\tRUNS\tEVIDENCE\tTITLE")
	for _, c := range list {
		if c.Error != "" {
			fmt.Fprintf(t, "%s\t\tcan't be read: %s\t\t\t\n", c.ID, c.Error)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s%s\n", c.ID, c.Opened.Format(time.RFC3339), c.stateWord(), len(c.Runs), c.Evidence, banner(c.Rehearsal), c.Title)
	}
	return t.Flush()
}

func (c caseSummary) stateWord() string {
	switch {
	case c.Live:
		return "live"
	case c.Closed:
		return "closed"
	case len(c.Runs) > 0 && !c.Runs[len(c.Runs)-1].finished:
		return "to resume"
	default:
		return "open"
	}
}

func newCaseShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a case: its runs, evidence and clean rooms", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, r, err := g.look(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			s := w.summarise(cmd.Context(), args[0])
			if g.output == "json" {
				return g.printJSON(s)
			}
			printCase(g, s, r.dir)
			return nil
		},
	}
}

func printCase(g *globals, s caseSummary, dir string) {
	fmt.Fprintf(g.out, "%s%s  %s\n", banner(s.Rehearsal), s.ID, s.Title)
	for _, line := range [][2]string{
		{"state", s.stateWord()}, {"opened", s.Opened.Format(time.RFC3339)}, {"severity", s.Severity},
		{"ticket", s.Ticket}, {"lead", s.Lead}, {"directory", dir},
	} {
		if line[1] != "" {
			fmt.Fprintf(g.out, "  %-10s %s\n", line[0], line[1])
		}
	}
	fmt.Fprintf(g.out, "  %-10s %d entries, %d evidence items\n", "journal", s.Entries, s.Evidence)
	for _, r := range s.Runs {
		outcome := string(r.Outcome)
		if outcome == "" {
			outcome = "not ended"
		}
		fmt.Fprintf(g.out, "  run %-6s %s: %s", r.ID, r.Playbook, outcome)
		for _, state := range []string{"succeeded", "reverted", "failed", "unknown", "skipped", "waiting", "running", "pending"} {
			if n := r.Steps[state]; n > 0 {
				fmt.Fprintf(g.out, ", %d %s", n, state)
			}
		}
		if n := len(r.LeftOut); n > 0 {
			fmt.Fprintf(g.out, ", %d target(s) left out", n)
		}
		fmt.Fprintln(g.out)
	}
}

func newCaseExposure(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "exposure ID", Short: "Show what can still pass, target by target, and what became of each path", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, r, err := g.look(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			all := r.state.Exposures()
			if g.output == "json" {
				return g.printJSON(all)
			}
			if len(all) == 0 {
				fmt.Fprintf(g.err, "%sno run of case %s has cut a network\n", banner(r.state.Case.Rehearsal), args[0])
			}
			for _, x := range all {
				g.printExposure(x, r.state.Case.Rehearsal)
			}
			return nil
		},
	}
}

func (g *globals) printExposure(x incident.TargetExposure, rehearsal bool) {
	state := "not contained"
	switch {
	case x.ReleasedBy != "":
		state = "released by " + x.ReleasedBy
	case x.ContainedAfter != nil:
		state = fmt.Sprintf("contained %s, %.1f s after the start", x.Contained.Format(time.RFC3339), *x.ContainedAfter)
	}
	fmt.Fprintf(g.out, "%s%s  %s %s: %s\n", banner(rehearsal), x.Target, x.Playbook, x.Run, state)
	writeCuts(g.out, "  path: ", x.Cuts, false, g.verbose)
	for _, e := range x.ResidualExposure {
		fmt.Fprintf(g.out, "  stays open: %s (%s)\n", e.Path, e.Reason)
	}
}

func newCaseClose(g *globals) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "close ID", Short: "Close a case: no playbook can be run in it afterwards; release and evidence still work", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := g.open()
			if err != nil {
				return err
			}
			return w.closeCase(cmd.Context(), args[0], reason)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why it is closed")
	return cmd
}

func (w *workspace) closeCase(ctx context.Context, id, reason string) (err error) {
	j, err := w.hold(ctx, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	r, err := fold(j)
	if err != nil {
		return err
	}
	if r.state.Closed {
		return w.g.printClosed(j.Case())
	}
	if run := r.unfinished(); run != nil {
		return incident.WithHint(usagef("case %s has an unfinished run %s", id, run.ID), "'cordon resume --case "+id+"' goes on with it")
	}
	if _, err := j.Append(ctx, incident.Draft{Type: incident.EntryCaseClosed, Data: incident.Note{Text: reason}}); err != nil {
		return err
	}
	if err := w.g.printClosed(j.Case()); err != nil {
		return err
	}
	return w.warnOfLeftovers(r)
}

func (g *globals) printClosed(c incident.Case) error {
	if g.output == "json" {
		return g.printJSON(map[string]any{"case": c.ID, "closed": true, "rehearsal": c.Rehearsal})
	}
	_, err := fmt.Fprintf(g.out, "%scase %s is closed\n", banner(c.Rehearsal), c.ID)
	return err
}

// warnOfLeftovers says what a case that ends leaves in AWS: who closes it may
// think that this ended too.
func (w *workspace) warnOfLeftovers(r *record) error {
	e, err := w.engine(nil, r.state.Case)
	if err != nil {
		return err
	}
	var left []incident.Target
	for _, live := range r.state.Live() {
		_, undoable := e.registry[live.Step.Action].(incident.Reverter)
		if undoable {
			left = append(left, live.Step.Target)
		}
	}
	if left = distinct(left); len(left) > 0 {
		fmt.Fprintf(w.g.err, "warning: not released: %s; 'cordon release --case %s' puts it back, in a closed case too\n", someOf(left), r.state.Case.ID)
	}
	rooms, err := cleanroom.Rooms(r.entries)
	if err != nil {
		return err
	}
	for _, room := range rooms {
		if room.Event != "closed" {
			fmt.Fprintf(w.g.err, "warning: clean room %s is still open; 'cordon cleanroom close --case %s' deletes it\n", room.Name, r.state.Case.ID)
		}
	}
	return nil
}

// unfinished is the newest run that can be resumed; nil if none.
func (r *record) unfinished() *incident.RunState {
	for i := len(r.state.Runs) - 1; i >= 0; i-- {
		if run := r.state.Runs[i]; !run.Finished() && run.Outcome != incident.OutcomeRefused {
			return run
		}
	}
	return nil
}
