package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/incident"
)

// connecting are the flags of cleanroom connect.
type connecting struct {
	caseID, name, instance string
	print                  bool
}

// session is how an examiner gets into a room.
type session struct {
	Name      string   `json:"name"` // of the room
	Account   string   `json:"account"`
	Region    string   `json:"region"`
	Instance  string   `json:"instance"`
	Document  string   `json:"document,omitempty"`
	Rehearsal bool     `json:"rehearsal"`
	Command   []string `json:"command"`
}

func newCleanRoomConnect(g *globals) *cobra.Command {
	var o connecting
	cmd := &cobra.Command{
		Use: "connect --case ID [--name ROOM] [--instance I]", Short: "Start a session on an examination instance, or print the command that does", Args: noArgs,
		Long: `Start a session on an examination instance, with the AWS CLI and its
session-manager-plugin. With --print or --output json, without a terminal, and in a
rehearsal, the command is printed instead.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCleanRoomConnect(cmd.Context(), g, o) },
	}
	addCaseFlag(cmd, &o.caseID)
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "the clean room, where the case has several")
	f.StringVar(&o.instance, "instance", "", "the examination instance (default: the room's first)")
	f.BoolVar(&o.print, "print", false, "print the command, start nothing")
	return cmd
}

func runCleanRoomConnect(ctx context.Context, g *globals, o connecting) error {
	w, err := g.open()
	if err != nil {
		return err
	}
	r, err := w.read(ctx, o.caseID)
	if err != nil {
		return err
	}
	room, err := oneRoom(r, o.name)
	if err != nil {
		return err
	}
	cfg, err := w.access(nil, o.caseID).Config(ctx, incident.Target{Account: room.Account, Region: room.Region})
	if err != nil {
		return err
	}
	s := session{Name: room.Name, Account: room.Account, Region: room.Region, Instance: o.instance, Rehearsal: r.state.Case.Rehearsal}
	if err := s.find(ctx, cfg, room); err != nil {
		return err
	}
	s.command(g)
	switch {
	case g.output == "json":
		return g.printJSON(s)
	case o.print || s.Rehearsal || !g.isTerminal():
		// Standard output is the command alone, for $(…).
		if s.Rehearsal {
			fmt.Fprintf(g.err, "REHEARSAL  clean room %s: AWS has no such instance\n", s.Name)
		}
		_, err := fmt.Fprintln(g.out, strings.Join(s.Command, " "))
		return err
	}
	return s.start(ctx, cfg)
}

// oneRoom is the room that is launched, of the name given where there are several.
func oneRoom(r *record, name string) (incident.CleanRoom, error) {
	rooms, err := openRooms(r, name)
	if err != nil {
		return incident.CleanRoom{}, err
	}
	rooms = slices.DeleteFunc(rooms, func(c incident.CleanRoom) bool { return c.Event != cleanroom.Launched })
	switch len(rooms) {
	case 1:
		return rooms[0], nil
	case 0:
		return incident.CleanRoom{}, incident.WithHint(usagef("the case has no clean room that can be worked in"), "'cordon cleanroom list --case "+r.state.Case.ID+"' shows what became of them")
	}
	var names []string
	for _, room := range rooms {
		names = append(names, room.Name)
	}
	return incident.CleanRoom{}, incident.WithHint(usagef("the case has %d clean rooms", len(rooms)), "choose one with --name: "+strings.Join(names, ", "))
}

// find chooses the instance, and the document by which sessions of the room are logged.
func (s *session) find(ctx context.Context, cfg aws.Config, room incident.CleanRoom) error {
	door, err := cleanroom.DoorOf(ctx, cfg, room)
	if err != nil {
		return err
	}
	s.Document = door.Document
	switch {
	case len(door.Instances) == 0:
		return fmt.Errorf("clean room %s has no examination instance", room.Name)
	case s.Instance == "":
		s.Instance = cmp.Or(room.Instance, door.Instances[0])
	case !slices.Contains(door.Instances, s.Instance):
		return incident.WithHint(usagef("--instance %s is not in clean room %s", s.Instance, room.Name), "its instances are "+strings.Join(door.Instances, ", "))
	}
	return nil
}

func (s *session) command(g *globals) {
	s.Command = []string{"aws", "ssm", "start-session", "--region", s.Region, "--target", s.Instance}
	if s.Document != "" {
		s.Command = append(s.Command, "--document-name", s.Document)
	}
	if g.profile != "" {
		s.Command = append(s.Command, "--profile", g.profile)
	}
}

// start runs the session on this terminal. The AWS CLI gets the credentials that cordon has, which may be a role's.
func (s *session) start(ctx context.Context, cfg aws.Config) error {
	for _, program := range []string{"aws", "session-manager-plugin"} {
		if _, err := exec.LookPath(program); err != nil {
			return incident.WithHint(fmt.Errorf("%s is not installed here", program),
				"install the AWS CLI and its session-manager-plugin, or run elsewhere: "+strings.Join(s.Command, " "))
		}
	}
	c, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	args := slices.Clone(s.Command[1:])
	if i := slices.Index(args, "--profile"); i >= 0 {
		args = slices.Delete(args, i, i+2)
	}
	// An interrupt is for what runs in the session: the plugin passes it on, and ends by itself.
	cmd := exec.Command("aws", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_PROFILE=") }),
		"AWS_ACCESS_KEY_ID="+c.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+c.SecretAccessKey, "AWS_SESSION_TOKEN="+c.SessionToken)
	var ended *exec.ExitError
	if err := cmd.Run(); errors.As(err, &ended) {
		return fmt.Errorf("the session on %s ended with %w", s.Instance, err)
	} else if err != nil {
		return err
	}
	return nil
}
