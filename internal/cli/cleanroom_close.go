package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/access"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
)

// closing are the flags of cleanroom close.
type closing struct {
	caseID, name                   string
	retain                         []string
	withoutFindings, allowUnlocked bool
}

func newCleanRoomClose(g *globals) *cobra.Command {
	var o closing
	cmd := &cobra.Command{
		Use: "close --case ID [--name ROOM]", Short: "Take the rooms' findings and logs into custody, then delete their volumes and stacks; the evidence stays", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(o.retain) > 0 && o.name == "" {
				return usagef("--retain wants --name: a resource is named within one clean room")
			}
			w, err := g.open()
			if err != nil {
				return err
			}
			j, err := w.hold(cmd.Context(), o.caseID)
			if err != nil {
				return err
			}
			return errors.Join(w.closeRooms(cmd.Context(), j, o), j.Close())
		},
	}
	addCaseFlag(cmd, &o.caseID)
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "only this clean room (default: every one of the case)")
	f.StringSliceVar(&o.retain, "retain", nil, "leave this resource of the stack behind, by its logical name, where a deletion has failed")
	f.BoolVar(&o.withoutFindings, "without-findings", false, "leave what the examiners wrote, and the logs, where they are")
	f.BoolVar(&o.allowUnlocked, "allow-unlocked", false, "keep the findings also where the evidence store can't lock them")
	return cmd
}

func (w *workspace) closeRooms(ctx context.Context, j *journal.Journal, o closing) error {
	r, err := fold(j)
	if err != nil {
		return err
	}
	open, err := openRooms(r, o.name)
	if err != nil {
		return err
	}
	if len(open) == 0 {
		fmt.Fprintf(w.g.err, "%sno clean room to close\n", banner(j.Case().Rehearsal))
		return w.g.printClosedRooms(j.Case(), []closedRoom{})
	}
	if err := w.confirmClose(ctx, open, o); err != nil {
		return err
	}
	a := w.access(j, j.Case().ID)
	// One that can't be closed does not keep the others open.
	var failed []error
	var closed []closedRoom
	for _, room := range open {
		c, err := w.closeRoom(ctx, j, a, room, o)
		if err != nil {
			failed = append(failed, fmt.Errorf("clean room %s: %w", room.Name, err))
		}
		closed = append(closed, c)
	}
	if err := w.g.printClosedRooms(j.Case(), closed); err != nil {
		failed = append(failed, err)
	}
	if w.hasStore() && !o.withoutFindings {
		if err := w.anchor(ctx, j, a, ""); err != nil {
			fmt.Fprintf(w.g.err, "warning: what was taken is in no manifest yet: %v\n", err)
		}
	}
	return errors.Join(failed...)
}

// closedRoom is what cleanroom close --output json prints of a room.
type closedRoom struct {
	Name   string   `json:"name"`
	Items  []string `json:"items"` // taken into custody now, by ID
	Closed bool     `json:"closed"`
}

func (g *globals) printClosedRooms(c incident.Case, rooms []closedRoom) error {
	if g.output == "json" {
		return g.printJSON(rooms)
	}
	for _, room := range rooms {
		if len(room.Items) > 0 {
			fmt.Fprintf(g.out, "%s%d item(s) of clean room %s are in custody\n", banner(c.Rehearsal), len(room.Items), room.Name)
		}
		if room.Closed {
			fmt.Fprintf(g.out, "%sclean room %s is closed\n", banner(c.Rehearsal), room.Name)
		}
	}
	return nil
}

func (w *workspace) closeRoom(ctx context.Context, j *journal.Journal, a *access.Access, room incident.CleanRoom, o closing) (closedRoom, error) {
	closed := closedRoom{Name: room.Name, Items: []string{}}
	r, err := fold(j)
	if err != nil {
		return closed, err
	}
	place := incident.Target{Account: room.Account, Region: room.Region}
	cfg, err := a.Config(ctx, place)
	if err != nil {
		return closed, err
	}
	c := cleanroom.Closure{
		Config: cfg, Clock: w.clock, Case: j.Case(), AllowUnlocked: o.allowUnlocked, Custody: r.custody, Retain: o.retain,
		Record: func(ctx context.Context, kind incident.EntryType, data any) error {
			_, err := w.appender(j).Append(ctx, incident.Draft{Type: kind, Data: data})
			return err
		},
	}
	if w.hasStore() && !o.withoutFindings {
		home, ok := r.lastTarget() // the incident's account reaches the store, wherever the room is
		if !ok {
			home = place
		}
		if c.Store, err = w.store(ctx, a, home); err != nil {
			return closed, err
		}
	}
	taken, err := c.Close(ctx, room)
	closed.Items = append(closed.Items, taken...)
	closed.Closed = err == nil
	return closed, err
}

func (w *workspace) confirmClose(ctx context.Context, open []incident.CleanRoom, o closing) error {
	lost := "what was worked out in them and not left under the findings"
	if o.withoutFindings || !w.hasStore() {
		lost = "what was worked out in them"
	}
	switch {
	case w.g.yes:
		return nil
	case !w.g.isTerminal():
		return incident.WithHint(errNotApproved, "closing a clean room deletes its instances, and with them "+lost+"; add --yes")
	}
	answer, err := w.g.prompt(ctx, fmt.Sprintf("Delete %d clean room(s), and %s? yes / no: ", len(open), lost))
	if err != nil {
		return err
	}
	if answer != "yes" && answer != "y" {
		return errNotApproved
	}
	return nil
}
