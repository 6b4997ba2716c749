package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/access"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/triage"
	"github.com/cordon-ir/cordon/internal/triage/survey"
)

func newTriage(g *globals) *cobra.Command {
	var s selection
	var caseID string
	cmd := &cobra.Command{
		Use:   "triage TARGETS",
		Short: "Whose an instance is, who reaches it, and what cutting it off would break; reads only",
		Long: `Reads an instance and what surrounds it: owner, queue, classification and criticality by its tags,
paths and open rules, load balancers, Auto Scaling group, who shares its role, neighbours. It needs
no case and changes nothing; with --case it is about the instances of a case. What can't be read is
named, and not judged.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runTriage(cmd.Context(), g, caseID, s) },
	}
	s.addFlags(cmd, "the instance")
	s.addFilterFlag(cmd)
	cmd.Flags().StringVar(&caseID, "case", "", "the instances of this case; of them those that --instance and --instances-file name")
	return cmd
}

func runTriage(ctx context.Context, g *globals, caseID string, s selection) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	a := w.access(nil, caseID)
	targets, err := w.toTriage(ctx, a, caseID, s)
	if err != nil {
		return err
	}
	return w.triage(ctx, a, targets)
}

// toTriage is the selection, or what it leaves of a case's targets.
func (w *workspace) toTriage(ctx context.Context, a *access.Access, caseID string, s selection) ([]incident.Target, error) {
	if caseID == "" {
		return w.targets(ctx, a, s)
	}
	if len(s.filters) > 0 {
		return nil, usagef("--case is about the instances of a case, --filter finds others: which of them?")
	}
	named, err := s.named(w.g.in)
	if err != nil {
		return nil, err
	}
	r, err := w.read(ctx, caseID)
	if err != nil {
		return nil, err
	}
	targets, err := r.targets(named)
	if err == nil && len(targets) == 0 {
		err = incident.WithHint(usagef("case %s has no target yet", caseID), "name the instance with --instance")
	}
	return targets, err
}

// triagesAtOnce is how many instances are read side by side; they wait for AWS's budgets together.
const triagesAtOnce = 8

// triaged is one line of the output. Its JSON is stable.
type triaged struct {
	triage.Report
	Error string `json:"error,omitempty"` // why there is no report
	Hint  string `json:"hint,omitempty"`
}

// triage reads the targets and shows them in their order. One that can't be
// read doesn't keep the others from being shown.
func (w *workspace) triage(ctx context.Context, a *access.Access, targets []incident.Target) error {
	readers := newReaders(a, w.tagNames())
	results := make([]chan triaged, len(targets))
	slots := make(chan struct{}, triagesAtOnce)
	var all sync.WaitGroup
	defer all.Wait()
	for i, t := range targets {
		results[i] = make(chan triaged, 1)
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i] <- readers.triage(ctx, t)
		})
	}
	failed := 0
	for i := range targets {
		r := <-results[i]
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if r.Error != "" {
			failed++
		}
		if err := w.g.printTriage(r, w.isRehearsal()); err != nil {
			return err
		}
	}
	switch {
	case failed == 0:
		return nil
	case failed == len(targets):
		return errors.New("nothing could be triaged")
	default:
		return &outcomeError{exitIncomplete, fmt.Sprintf("%d of %d instances could not be triaged", failed, len(targets)), ""}
	}
}

// readers are those of each account and Region.
type readers struct {
	access *access.Access
	names  triage.Names
	mu     sync.Mutex
	of     map[incident.Target]*survey.Reader // by account and Region
}

func newReaders(a *access.Access, names triage.Names) *readers {
	return &readers{access: a, names: names, of: make(map[incident.Target]*survey.Reader)}
}

func (r *readers) triage(ctx context.Context, t incident.Target) triaged {
	out := triaged{Report: triage.Report{Instance: triage.Instance{Account: t.Account, Region: t.Region, ID: t.Instance}}}
	cfg, err := r.access.Config(ctx, t)
	if err == nil {
		var report triage.Report
		if report, err = r.at(cfg, t).Triage(ctx, t.Instance); err == nil {
			out.Report = report
		}
	}
	if err != nil {
		out.Error = err.Error()
		if hint, ok := errors.AsType[*incident.HintError](err); ok {
			out.Hint = hint.Hint
		}
	}
	return out
}

func (r *readers) at(cfg aws.Config, t incident.Target) *survey.Reader {
	t.Instance = ""
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of[t] == nil {
		r.of[t] = survey.NewReader(cfg, t, r.names)
	}
	return r.of[t]
}

func (g *globals) printTriage(r triaged, rehearsal bool) error {
	if g.output == "json" {
		e := json.NewEncoder(g.out)
		e.SetEscapeHTML(false)
		return e.Encode(r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s", banner(rehearsal), r.ID)
	if r.Name != "" {
		fmt.Fprintf(&b, " (%s)", r.Name)
	}
	if r.Error != "" {
		fmt.Fprintf(&b, "\n  not triaged: %s\n", r.Error)
		if r.Hint != "" {
			fmt.Fprintf(&b, "  hint: %s\n", r.Hint)
		}
	} else {
		fmt.Fprintf(&b, "  %s  %s  launched %s\n", r.State, r.Type, r.Launched.Format("2006-01-02 15:04 MST"))
		writeTriage(&b, r.Report)
	}
	_, err := fmt.Fprintln(g.out, b.String())
	return err
}

// writeTriage is the report for a person: a word for what it is, and the lines of it.
func writeTriage(out io.Writer, r triage.Report) {
	section := func(name string, lines ...string) {
		for i, line := range lines {
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(out, "  %-14s %s\n", name, line)
		}
	}
	var reasons []string
	for _, why := range r.Impact.Reasons {
		reasons = append(reasons, fmt.Sprintf("%+3d  %s", why.Points, why.Text))
	}
	section("impact", append([]string{fmt.Sprintf("%s (%d points)", r.Impact.Level, r.Impact.Points)}, reasons...)...)
	section("owner", strings.Join([]string{dash(r.Owner), "queue " + dash(r.Queue), "classification " + dash(r.Classification), "criticality " + dash(r.Criticality)}, ", "))
	section("breaks", r.Breaks...)
	section("addresses", orElse(strings.Join(append(append(append([]string(nil), r.Private...), r.Public...), r.IPv6...), ", "), "none"))
	section("place", fmt.Sprintf("%s, %s, %s", r.VPC, r.Subnet, r.Zone))
	section("exposure", exposureLines(r)...)
	section("balancers", balancerLines(r)...)
	if s := r.Scaling; s != nil {
		lines := []string{fmt.Sprintf("%s: %s, desired %d, min %d, max %d", s.Group, s.State, s.Desired, s.Min, s.Max)}
		section("group", append(lines, s.Notes...)...)
	}
	if role := r.Role; role != nil {
		lines := []string{fmt.Sprintf("%s, shared with %d other instance(s)", role.Name, len(role.Shared))}
		if len(role.Policies) > 0 {
			lines = append(lines, "policies "+strings.Join(role.Policies, ", "))
		}
		section("role", lines...)
	}
	for _, n := range r.Neighbours {
		section("neighbours", fmt.Sprintf("%d other instance(s) in %s", len(n.Instances), n.Subnet))
	}
	section("not read", r.Unread...)
}

// exposureLines are the open rules, those that the Internet reaches first, and the ways out.
func exposureLines(r triage.Report) []string {
	var lines, inside []string
	for _, u := range r.Rules {
		if u.Internet {
			lines = append(lines, "Internet: "+u.String()+" by "+u.Group)
		} else {
			inside = append(inside, "in: "+u.String()+" by "+u.Group)
		}
	}
	lines = append(lines, inside...)
	for _, p := range r.Paths {
		if p.Out {
			lines = append(lines, "out: "+p.Path)
		}
	}
	return lines
}

func balancerLines(r triage.Report) []string {
	var lines []string
	for _, b := range r.Balancers {
		what, facing := b.Kind+" "+b.Name, ""
		if len(b.Balances) > 0 {
			what += " of " + strings.Join(b.Balances, ", ")
		}
		if b.Public {
			facing = ", internet-facing"
		}
		lines = append(lines, fmt.Sprintf("%s%s: %s here, %d of %d others healthy", what, facing, b.State, b.Healthy, b.Others))
	}
	return lines
}
