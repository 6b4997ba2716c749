package tui

import "strings"

// appKeys are those that every screen has.
func appKeys(s Screen, depth int) []Key {
	back := Key{keyQuit, "quit"}
	if depth > 1 {
		back = Key{keyBack, "back"}
	}
	if s.Typing() {
		return []Key{{keyKill, "quit"}}
	}
	keys := []Key{{keyHelp, "keys"}, back}
	if s.CaseID() == "" {
		return keys // a note belongs to a case
	}
	return append([]Key{{keyNote, "note"}}, keys...)
}

// keyLine shows the fixed keys and as many of the others as fit before them.
func keyLine(t *Theme, own, fixed []Key, width int) string {
	draw := func(k Key) string {
		return t.Strong.Render(strings.ReplaceAll(k.Press, " ", "/")) + " " + t.Dim.Render(k.Does)
	}
	var line, end []string
	room := width
	for _, k := range fixed {
		end = append(end, draw(k))
		room -= cells(end[len(end)-1]) + 2
	}
	for _, k := range own {
		text := draw(k)
		if room -= cells(text) + 2; room < 0 {
			break
		}
		line = append(line, text)
	}
	return strings.Join(append(line, end...), "  ")
}

// helpView shows every key of a screen, and the command line that does the same.
func helpView(t *Theme, s Screen, width int) string {
	var b strings.Builder
	b.WriteString(" " + t.Rule("keys on this screen", width-2) + "\n")
	row := func(k Key) {
		b.WriteString("  " + t.Strong.Render(fit(k.Press, 14)) + " " + k.Does + "\n")
	}
	for _, k := range s.Keys() {
		row(k)
	}
	b.WriteString("\n " + t.Rule("everywhere", width-2) + "\n")
	if s.CaseID() != "" {
		row(Key{keyNote, "write a note into the case's journal"})
	}
	for _, k := range []Key{
		{keyCopy, "copy the command line that does the same"},
		{keyBack, "back"}, {keyQuit, "back; at the first screen: quit"},
		{keyKill, "quit at once; a run goes on without the TUI"},
	} {
		row(k)
	}
	if line := s.Command(); line != "" {
		b.WriteString("\n " + t.Rule("the same as a command", width-2) + "\n")
		for _, l := range wrap(line, width-4) {
			b.WriteString("  " + t.Accent.Render(l) + "\n")
		}
	}
	b.WriteString("\n " + t.Rule("signs", width-2) + "\n")
	for _, l := range legend(t) {
		b.WriteString("  " + l + "\n")
	}
	return b.String()
}
