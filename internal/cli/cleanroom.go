package cli

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/incident"
)

func newCleanRoom(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "cleanroom", Short: "List clean rooms, prove them closed, work in them, close them"}
	cmd.AddCommand(newCleanRoomList(g), newCleanRoomStatus(g), newCleanRoomConnect(g), newCleanRoomToolkit(g), newCleanRoomClose(g))
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
				return g.printJSON(append([]incident.CleanRoom{}, rooms...))
			}
			sayRehearsal(g.out, r.state.Case)
			t := tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(t, "CLEAN ROOM\tLABEL\tSTATE\tACCOUNT\tREGION\tINSTANCE\tVOLUMES")
			for _, room := range rooms {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", room.Name, room.Label, room.Event, room.Account, room.Region, room.Instance, len(room.Volumes))
			}
			return t.Flush()
		},
	}
	addCaseFlag(cmd, &caseID)
	return cmd
}

// openRooms are those of the case's that are not closed; with a name, those that have it, as their own or as a label.
func openRooms(r *record, name string) ([]incident.CleanRoom, error) {
	rooms, err := cleanroom.Rooms(r.entries)
	if err != nil {
		return nil, err
	}
	var open []incident.CleanRoom
	for _, room := range rooms {
		if room.Event != cleanroom.Closed && (name == "" || room.Name == name || room.Label == name) {
			open = append(open, room)
		}
	}
	if len(open) == 0 && name != "" {
		return nil, incident.WithHint(usagef("--name %s: the case has no open clean room of this name", name), "'cordon cleanroom list --case "+r.state.Case.ID+"' shows them")
	}
	return open, nil
}

func newCleanRoomStatus(g *globals) *cobra.Command {
	var caseID, name string
	cmd := &cobra.Command{
		Use: "status --case ID [--name ROOM]", Short: "Read the clean rooms back from AWS, prove that they are closed, and say what has changed since their launch", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCleanRoomStatus(cmd.Context(), g, caseID, name) },
	}
	addCaseFlag(cmd, &caseID)
	cmd.Flags().StringVar(&name, "name", "", "only this clean room")
	return cmd
}

func runCleanRoomStatus(ctx context.Context, g *globals, caseID, name string) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	r, err := w.read(ctx, caseID)
	if err != nil {
		return err
	}
	rooms, err := openRooms(r, name)
	if err != nil {
		return err
	}
	a := w.access(nil, caseID)
	reports := make([]cleanroom.Report, 0, len(rooms))
	ways, drift := 0, 0
	for _, room := range rooms {
		cfg, err := a.Config(ctx, incident.Target{Account: room.Account, Region: room.Region})
		if err != nil {
			return err
		}
		report, err := cleanroom.Status(ctx, cfg, room)
		if err != nil {
			return fmt.Errorf("clean room %s: %w", room.Name, err)
		}
		ways, drift = ways+len(report.WaysOut), drift+len(report.Drift)
		reports = append(reports, report)
	}
	if err := g.printRooms(reports, r.state.Case.Rehearsal); err != nil {
		return err
	}
	switch {
	case ways > 0:
		return &outcomeError{exitVerify, fmt.Sprintf("%d undeclared way(s) out of the clean rooms", ways), "look at what changed first; 'cordon cleanroom close --case " + caseID + "' takes the findings into custody and the rooms down"}
	case drift > 0:
		return &outcomeError{exitVerify, fmt.Sprintf("nothing leads out of the clean rooms, but %d thing(s) in them are not as they were at the launch", drift), "CloudTrail says who changed them"}
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
		fmt.Fprintf(g.out, "%s%s  %s in %s of %s\n", banner(rehearsal), r.Name, r.State, r.Region, r.Account)
		for _, i := range r.Instances {
			fmt.Fprintf(g.out, "  instance %s is %s\n", i.ID, i.State)
		}
		for _, p := range r.Checked {
			fmt.Fprintf(g.out, "  ✓ %s\n", p)
		}
		for _, p := range r.Declared {
			fmt.Fprintf(g.out, "  · %s: %s (declared: %s)\n", p.Resource, p.Reason, p.Declared)
		}
		for _, p := range r.WaysOut {
			fmt.Fprintf(g.out, "  ✗ %s: %s\n", p.Resource, p.Reason)
		}
		for _, e := range r.Residual {
			fmt.Fprintf(g.out, "  ! %s: %s\n", e.Path, e.Reason)
		}
		for _, e := range r.Unseen {
			fmt.Fprintf(g.out, "  ? not looked at: %s: %s\n", e.Path, e.Reason)
		}
		for _, d := range r.Drift {
			fmt.Fprintf(g.out, "  ≠ %s\n", d)
		}
	}
	return nil
}
