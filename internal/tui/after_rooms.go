package tui

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// roomList is After's page of clean rooms.
type roomList struct {
	chosen  string // a room's name
	read    bool   // what AWS shows was asked for
	at      time.Time
	reports []roomReport
	scroll  scroll
}

// roomReport is what the screen needs of one room in 'cleanroom status --output json'.
type roomReport struct {
	Name      string `json:"name"`
	State     string `json:"state"`
	VPC       string `json:"vpc"`
	Instances []struct {
		ID    string `json:"id"`
		State string `json:"state"`
	} `json:"instances"`
	Volumes []struct {
		ID         string `json:"id"`
		Snapshot   string `json:"snapshot"`
		State      string `json:"state"`
		AttachedTo string `json:"attached_to"`
		Device     string `json:"device"`
	} `json:"volumes"`
	Checked  []string            `json:"checked"`
	WaysOut  []wayOut            `json:"ways_out"`
	Declared []wayOut            `json:"declared"`
	Drift    []incident.Drift    `json:"drift"`
	Residual []incident.Exposure `json:"residual"`
}

// wayOut is a way out of a room; Declared says why it has it by intent.
type wayOut struct {
	Resource string `json:"resource"`
	Reason   string `json:"reason"`
	Declared string `json:"declared"`
}

// roomsMsg is the answer of 'cleanroom status'.
type roomsMsg struct {
	reports []roomReport
	err     error
}

func (l *roomList) take(m roomsMsg, now time.Time) error {
	l.read = true
	if len(m.reports) == 0 {
		return m.err
	}
	l.reports, l.at = m.reports, now
	return nil // the reports say what is wrong
}

func (l *roomList) report(name string) *roomReport {
	if i := slices.IndexFunc(l.reports, func(r roomReport) bool { return r.Name == name }); i >= 0 {
		return &l.reports[i]
	}
	return nil
}

func (a *After) readRooms() tea.Cmd {
	args := []string{"cleanroom", "status", "--case", a.caseID}
	return a.begin("reading the clean rooms from AWS", false, args, func() tea.Msg {
		var m roomsMsg
		m.err = a.env.Cordon.Read(a.ctx, &m.reports, args...)
		return m
	})
}

func (a *After) roomAt() int {
	return max(0, slices.IndexFunc(a.view.Rooms, func(r incident.CleanRoom) bool { return r.Name == a.rooms.chosen }))
}

func (a *After) roomKey(key string) tea.Cmd {
	rooms := a.view.Rooms
	if len(rooms) == 0 {
		return nil
	}
	if key == "pgup" || key == "pgdown" || len(rooms) == 1 {
		if a.rooms.scroll.key(key) {
			return nil
		}
	}
	if at, ok := listKey(key, a.roomAt(), len(rooms)); ok {
		a.rooms.chosen, a.rooms.scroll = rooms[at].Name, scroll{}
		return nil
	}
	room := rooms[a.roomAt()]
	switch {
	case key == "r":
		return a.readRooms()
	case key != "c" && key != "x":
		return nil
	case room.Event == roomClosed:
		return Warn(room.Name + " is closed")
	case key == "c":
		return a.connect(room)
	default:
		return a.askClose(room)
	}
}

// roomClosed is a room's last event.
const roomClosed = "closed"

func (a *After) roomKeys() []Key {
	if len(a.view.OpenRooms()) == 0 {
		return nil
	}
	return []Key{{"c", "connect"}, {"r", "prove again"}, {"x", "close"}, {"pgup pgdown", "scroll"}}
}

func (a *After) askClose(room incident.CleanRoom) tea.Cmd {
	args := []string{"--yes", "cleanroom", "close", "--case", a.caseID, "--name", room.Name}
	return Ask(Confirm{
		Question: "Close clean room " + room.Name + "?", Impact: incident.Irreversible, Name: a.caseID,
		Lines: []string{
			"What its examiners left under the findings, and its logs, are taken into custody first.",
			"Then its instances, its copies of the volumes and its network are deleted, with what else was worked out in them.",
			"The evidence, and the snapshots that the copies were made from, stay.", "", a.env.Cordon.Line(args...),
		},
		Yes: func() tea.Cmd { return a.start("closing "+room.Name, room.Name+" is closed", args...) },
	})
}

// session is what 'cleanroom connect --output json' prints.
type session struct {
	Instance  string   `json:"instance"`
	Rehearsal bool     `json:"rehearsal"`
	Command   []string `json:"command"`
}

// sessionMsg is how the way into a room was found.
type sessionMsg struct {
	room    string
	session session
	err     error
}

// leftMsg: a session on this terminal has ended.
type leftMsg struct{ err error }

// connect finds the way into a room.
func (a *After) connect(room incident.CleanRoom) tea.Cmd {
	args := []string{"cleanroom", "connect", "--case", a.caseID, "--name", room.Name}
	return a.begin("finding the way into "+room.Name, false, args, func() tea.Msg {
		m := sessionMsg{room: room.Name}
		m.err = a.env.Cordon.Read(a.ctx, &m.session, args...)
		return m
	})
}

// connected gives the terminal to the session until it ends. A rehearsal has nobody to
// talk to, and a reader of lines no terminal to give: there the command is shown.
func (a *After) connected(m sessionMsg) tea.Cmd {
	switch {
	case m.err != nil:
		return nil
	case m.session.Rehearsal || a.env.Theme.Still:
		return Push(&sessionScreen{env: a.env, caseID: a.caseID, room: m.room, session: m.session})
	}
	said := &strings.Builder{}
	args := []string{"cleanroom", "connect", "--case", a.caseID, "--name", m.room}
	cmd := a.env.Cordon.command(context.WithoutCancel(a.ctx), args) // whoever sits in the session ends it
	cmd.Stderr = io.MultiWriter(os.Stderr, said)
	return Exec(cmd, func(err error) tea.Msg {
		return leftMsg{a.env.Cordon.explain(context.Background(), err, args, said.String())}
	})
}

func (a *After) roomView(size Size) string {
	t, rooms := a.env.Theme, a.view.Rooms
	if len(rooms) == 0 {
		return "\n  no clean room in this case"
	}
	const most = 6
	top := Size{size.W, min(len(rooms), most)}
	at := a.roomAt()
	first, last := window(at, len(rooms), top.H)
	var lines []string
	for i := first; i < last; i++ {
		r := rooms[i]
		name := fit(clean(r.Name), min(44, size.W/2))
		if i == at {
			name = t.Selected.Render(name)
		}
		lines = append(lines, t.Cursor(i == at)+name+" "+a.roomMark(r).String())
	}
	rest := Size{size.W, size.H - top.H}
	return frame(strings.Join(lines, "\n"), top) + "\n" + a.rooms.scroll.view(t, a.roomText(rooms[at], size.W), rest)
}

// roomMark says how a room stands, by the journal and by what AWS showed last.
func (a *After) roomMark(r incident.CleanRoom) Mark {
	t := a.env.Theme
	report := a.rooms.report(r.Name)
	m := t.State(incident.Pending)
	switch {
	case r.Event == roomClosed:
		m = t.State(incident.Skipped)
		m.Word = "taken down"
	case r.Event != "launched":
		m = t.State(incident.Unknown)
		m.Word = r.Event + ": not finished"
	case report == nil:
		m.Word = "open, not proved now"
	case len(report.WaysOut) > 0:
		m = t.State(incident.Failed)
		m.Word = count(len(report.WaysOut), "WAY OUT", "WAYS OUT")
	case len(report.Drift) > 0:
		m = t.State(incident.Failed)
		m.Symbol, m.Style = t.sign("≠", "!"), t.Warn
		m.Word = "no way out, " + count(len(report.Drift), "thing has changed", "things have changed")
	case len(report.Checked) == 0:
		m = t.State(incident.Unknown)
		m.Word = "AWS shows it as " + strings.ToLower(report.State)
	default:
		m = t.State(incident.Succeeded)
		m.Word = "proved: no way out"
	}
	return m
}

func (a *After) roomText(r incident.CleanRoom, width int) string {
	d := &detail{t: a.env.Theme, width: width}
	d.rule(clean(r.Name))
	d.text("where", r.Region+" of account "+r.Account)
	if r.Event == roomClosed {
		d.text("closed", "its instances, copies and network are deleted; the evidence stays")
		return d.b.String()
	}
	report := a.rooms.report(r.Name)
	if report == nil {
		d.text("instance", r.Instance)
		d.text("proof", "not asked from AWS yet: r reads it")
		return d.b.String()
	}
	d.text("read", a.rooms.at.UTC().Format("15:04:05 UTC")+", stack "+strings.ToLower(report.State)+", "+report.VPC)
	d.roomProof(*report)
	d.roomContents(r, *report)
	return d.b.String()
}

// roomProof is what leads out, what has changed, and what was looked at.
func (d *detail) roomProof(r roomReport) {
	mark := func(m Mark, text string) {
		for i, l := range wrap(clean(text), d.width-5) {
			sign := "  "
			if i == 0 {
				sign = m.Style.Render(m.Symbol) + " "
			}
			d.line(sign + l)
		}
	}
	bad, good, plain := d.t.State(incident.Failed), d.t.State(incident.Succeeded), d.t.State(incident.Pending)
	changed := Mark{Symbol: d.t.sign("≠", "!"), Style: d.t.Warn}
	if len(r.WaysOut) > 0 {
		d.rule("ways out that must not be there")
	}
	for _, w := range r.WaysOut {
		mark(bad, w.Resource+": "+w.Reason)
	}
	if len(r.Drift) > 0 {
		d.rule("not as it was at the launch")
	}
	for _, x := range r.Drift {
		mark(changed, changeText(d.t, incident.Change{Resource: x.Resource, What: x.What, Before: x.Before, After: x.Now}))
	}
	d.rule("proof, as AWS shows it")
	for _, c := range r.Checked {
		mark(good, c)
	}
	if len(r.Declared)+len(r.Residual) > 0 {
		d.rule("what passes by intent")
	}
	for _, w := range r.Declared {
		mark(plain, w.Resource+": "+w.Reason+" ("+w.Declared+")")
	}
	for _, e := range r.Residual {
		mark(Mark{Symbol: d.t.sign("▲", "!"), Style: d.t.Warn}, e.Path+": "+e.Reason)
	}
}

// roomContents are the instances and the copies of the volumes.
func (d *detail) roomContents(room incident.CleanRoom, r roomReport) {
	d.rule("inside")
	for _, i := range r.Instances {
		d.text("instance", i.ID+", "+i.State)
	}
	if len(r.Instances) == 0 {
		d.text("instance", room.Instance)
	}
	for _, v := range r.Volumes {
		d.text("volume", strings.TrimSpace(v.ID+" from "+v.Snapshot+", "+v.State+" "+v.Device))
	}
}

// sessionScreen shows the command that leads into a room.
type sessionScreen struct {
	env     *Env
	caseID  string
	room    string
	session session
}

// Init has nothing to start.
func (s *sessionScreen) Init(context.Context) tea.Cmd { return nil }

// Update has nothing to take.
func (s *sessionScreen) Update(tea.Msg) tea.Cmd { return nil }

// View draws the command.
func (s *sessionScreen) View(size Size) string {
	t := s.env.Theme
	d := &detail{t: t, width: size.W}
	d.b.WriteString("\n")
	d.text("clean room", s.room)
	d.text("instance", s.session.Instance)
	d.b.WriteString("\n")
	d.line("An examiner gets onto it with:")
	d.b.WriteString("\n")
	for _, l := range wrap(clean(s.line()), size.W-4) {
		d.line(t.Accent.Render(l))
	}
	d.b.WriteString("\n")
	if s.session.Rehearsal {
		d.line(t.Warn.Render("In a rehearsal there is no machine to talk to: nothing was started."))
	}
	d.line("y copies it. It needs the AWS CLI and its session-manager-plugin.")
	return d.b.String()
}

func (s *sessionScreen) line() string {
	words := make([]string, len(s.session.Command))
	for i, w := range s.session.Command {
		words[i] = Quote(w)
	}
	return strings.Join(words, " ")
}

// Title is where we are.
func (s *sessionScreen) Title() string { return "connect" }

// CaseID is the case's.
func (s *sessionScreen) CaseID() string { return s.caseID }

// Command is the session's.
func (s *sessionScreen) Command() string { return s.line() }

// Typing is never the case here.
func (s *sessionScreen) Typing() bool { return false }

// Keys are the App's.
func (s *sessionScreen) Keys() []Key { return nil }
