package cli

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

func newCleanRoom(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "cleanroom", Short: "List clean rooms, prove them closed, close them"}
	cmd.AddCommand(newCleanRoomList(g), newCleanRoomStatus(g), newCleanRoomClose(g))
	return cmd
}

func newCleanRoomList(g *globals) *cobra.Command {
	var caseID string
	cmd := &cobra.Command{
		Use: "list --case ID", Short: "List the case's clean rooms", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, r, err := g.look(cmd.Context(), caseID)
			if err != nil {
				return err
			}
			rooms, err := cleanroom.Rooms(r.entries)
			if err != nil {
				return err
			}
			if g.output == "json" {
				return g.printJSON(rooms)
			}
			t := tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(t, "CLEAN ROOM\tSTATE\tREGION\tINSTANCE\tVOLUMES")
			for _, room := range rooms {
				fmt.Fprintf(t, "%s%s\t%s\t%s\t%s\t%d\n", banner(r.state.Case.Rehearsal), room.Name, room.Event, room.Region, room.Instance, len(room.Volumes))
			}
			return t.Flush()
		},
	}
	addCaseFlag(cmd, &caseID)
	return cmd
}

func newCleanRoomStatus(g *globals) *cobra.Command {
	var caseID string
	cmd := &cobra.Command{
		Use: "status --case ID", Short: "Read the clean rooms back from AWS and prove that they are closed", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCleanRoomStatus(cmd.Context(), g, caseID) },
	}
	addCaseFlag(cmd, &caseID)
	return cmd
}

func runCleanRoomStatus(ctx context.Context, g *globals, caseID string) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	r, err := w.read(ctx, caseID)
	if err != nil {
		return err
	}
	rooms, err := cleanroom.Rooms(r.entries)
	if err != nil {
		return err
	}
	a := w.access(nil, caseID)
	reports := make([]cleanroom.Report, 0, len(rooms))
	open := 0
	for _, room := range rooms {
		if room.Event == "closed" {
			continue
		}
		cfg, err := a.Config(ctx, incident.Target{Account: room.Account, Region: room.Region})
		if err != nil {
			return err
		}
		report, err := cleanroom.Status(ctx, cfg, room)
		if err != nil {
			return fmt.Errorf("clean room %s: %w", room.Name, err)
		}
		open += len(report.WaysOut)
		reports = append(reports, report)
	}
	if err := g.printRooms(reports, r.state.Case.Rehearsal); err != nil {
		return err
	}
	if open > 0 {
		return &outcomeError{exitVerify, fmt.Sprintf("%d undeclared way(s) out of the clean rooms", open), "'cordon cleanroom close' closes them; look at what changed first"}
	}
	return nil
}

func (g *globals) printRooms(reports []cleanroom.Report, rehearsal bool) error {
	if g.output == "json" {
		return g.printJSON(reports)
	}
	if len(reports) == 0 {
		fmt.Fprintln(g.err, "no clean room is open")
	}
	for _, r := range reports {
		fmt.Fprintf(g.out, "%s%s  %s, instance %s (%s)\n", banner(rehearsal), r.Name, r.State, r.Instance, r.InstanceState)
		for _, p := range r.Checked {
			fmt.Fprintf(g.out, "  ✓ %s\n", p)
		}
		for _, p := range r.WaysOut {
			fmt.Fprintf(g.out, "  ✗ %s: %s\n", p.Path, p.Reason)
		}
	}
	return nil
}

func newCleanRoomClose(g *globals) *cobra.Command {
	var caseID, name string
	cmd := &cobra.Command{
		Use: "close --case ID [--name ROOM]", Short: "Delete the clean rooms' stacks and volumes; the evidence stays", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := g.open()
			if err != nil {
				return err
			}
			j, err := w.hold(cmd.Context(), caseID)
			if err != nil {
				return err
			}
			return errors.Join(w.closeRooms(cmd.Context(), j, name), j.Close())
		},
	}
	addCaseFlag(cmd, &caseID)
	cmd.Flags().StringVar(&name, "name", "", "only this clean room (default: every one of the case)")
	return cmd
}

func (w *workspace) closeRooms(ctx context.Context, j *journal.Journal, name string) error {
	r, err := fold(j)
	if err != nil {
		return err
	}
	rooms, err := cleanroom.Rooms(r.entries)
	if err != nil {
		return err
	}
	var open []incident.CleanRoom
	for _, room := range rooms {
		if room.Event != "closed" && (name == "" || room.Name == name) {
			open = append(open, room)
		}
	}
	if len(open) == 0 {
		if name != "" {
			return incident.WithHint(usagef("--name %s: the case has no open clean room of this name", name), "'cordon cleanroom list --case "+j.Case().ID+"' shows them")
		}
		fmt.Fprintf(w.g.err, "%sno clean room to close\n", banner(j.Case().Rehearsal))
		return nil
	}
	if err := w.confirmClose(ctx, open); err != nil {
		return err
	}
	a := w.access(j, j.Case().ID)
	record := func(ctx context.Context, kind incident.EntryType, data any) error {
		_, err := j.Append(ctx, incident.Draft{Type: kind, Data: data})
		return err
	}
	for _, room := range open {
		cfg, err := a.Config(ctx, incident.Target{Account: room.Account, Region: room.Region})
		if err != nil {
			return err
		}
		if err := cleanroom.Close(ctx, cfg, w.clock, room, record); err != nil {
			return fmt.Errorf("clean room %s: %w", room.Name, err)
		}
		fmt.Fprintf(w.g.out, "%sclean room %s is closed\n", banner(j.Case().Rehearsal), room.Name)
	}
	return nil
}

func (w *workspace) confirmClose(ctx context.Context, open []incident.CleanRoom) error {
	switch {
	case w.g.yes:
		return nil
	case !w.g.isTerminal():
		return incident.WithHint(errNotApproved, "closing a clean room deletes what was worked out in it; add --yes")
	}
	answer, err := w.g.prompt(ctx, fmt.Sprintf("Delete %d clean room(s) and what was worked out in them? yes / no: ", len(open)))
	if err != nil {
		return err
	}
	if answer != "yes" && answer != "y" {
		return errNotApproved
	}
	return nil
}
