package tui

import (
	"image/color"
	"strings"
	"unicode/utf8"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/cordon-ir/cordon/internal/incident"
)

// Theme is how things look. Every colour is one of the terminal's own sixteen,
// so that the person's palette decides; nothing is said by colour alone.
type Theme struct {
	Dark    bool // the terminal's background
	Unicode bool
	Still   bool // nothing may change by itself: clocks stand still (screen readers)

	Plain, Dim, Strong, Accent, Good, Warn, Bad lipgloss.Style
	Badge                                       lipgloss.Style // REHEARSAL
	Alarm                                       lipgloss.Style // what must not be overlooked
	Selected                                    lipgloss.Style
	Bar                                         lipgloss.Style // header and footer
}

// NewTheme returns the theme for a dark or light background.
func NewTheme(dark, unicode bool) *Theme {
	t := &Theme{Unicode: unicode}
	t.SetDark(dark)
	return t
}

// SetDark restyles for a dark or light background.
func (t *Theme) SetDark(dark bool) {
	pick := func(light, onDark color.Color) color.Color {
		if dark {
			return onDark
		}
		return light
	}
	s := lipgloss.NewStyle()
	t.Dark = dark
	t.Plain, t.Strong = s, s.Bold(true)
	t.Dim = s.Foreground(pick(lipgloss.BrightBlack, lipgloss.White)).Faint(true)
	t.Accent = s.Foreground(pick(lipgloss.Blue, lipgloss.BrightCyan))
	t.Good = s.Foreground(pick(lipgloss.Green, lipgloss.BrightGreen))
	t.Warn = s.Foreground(pick(lipgloss.Magenta, lipgloss.BrightYellow)) // yellow can't be read on white
	t.Bad = s.Foreground(pick(lipgloss.Red, lipgloss.BrightRed)).Bold(true)
	t.Badge = s.Bold(true).Foreground(lipgloss.Black).Background(pick(lipgloss.BrightYellow, lipgloss.Yellow))
	t.Alarm = s.Bold(true).Foreground(lipgloss.BrightWhite).Background(lipgloss.Red)
	t.Selected = s.Reverse(true)
	t.Bar = s.Bold(true)
}

// Mark is a symbol with its style; Word says the same.
type Mark struct {
	Symbol string
	Style  lipgloss.Style
	Word   string
}

// String is the symbol and the word.
func (m Mark) String() string { return m.Style.Render(m.Symbol + " " + m.Word) }

// sign is the symbol, in ASCII where the terminal can't do better.
func (t *Theme) sign(unicode, ascii string) string {
	if t.Unicode {
		return unicode
	}
	return ascii
}

// drawable is a screen as the terminal can draw it: where it has ASCII only, what is cut ends in ~, and what
// else there is, in names and tags, is as many question marks as it has cells.
func (t *Theme) drawable(screen string) string {
	if t.Unicode {
		return screen
	}
	var b strings.Builder
	for screen != "" {
		if screen[0] < utf8.RuneSelf {
			b.WriteByte(screen[0])
			screen = screen[1:]
			continue
		}
		sign, width := ansi.FirstGraphemeCluster(screen, ansi.GraphemeWidth)
		switch sign {
		case "…":
			b.WriteByte('~')
		case "→":
			b.WriteByte('>')
		default:
			b.WriteString(strings.Repeat("?", width))
		}
		screen = screen[len(sign):]
	}
	return b.String()
}

// State marks a step's state.
func (t *Theme) State(s incident.StepState) Mark {
	m := Mark{Word: s.String(), Style: t.Plain}
	switch s {
	case incident.Pending:
		m.Symbol, m.Style = t.sign("·", "."), t.Dim
	case incident.Waiting:
		m.Symbol, m.Style = t.sign("◆", "*"), t.Warn
	case incident.Running:
		m.Symbol, m.Style = t.sign("▶", ">"), t.Accent
	case incident.Succeeded:
		m.Symbol, m.Style = t.sign("✓", "v"), t.Good
	case incident.Failed:
		m.Symbol, m.Style = t.sign("✗", "x"), t.Bad
	case incident.Skipped:
		m.Symbol, m.Style = t.sign("–", "-"), t.Dim
	case incident.Reverted:
		m.Symbol, m.Style = t.sign("↩", "<"), t.Plain
	case incident.Unknown:
		m.Symbol, m.Style = "?", t.Bad
	}
	return m
}

// Impact marks what a step does to the service and the evidence, with the signs of 'cordon plan'.
func (t *Theme) Impact(i incident.Impact) Mark {
	m := Mark{Word: i.String()}
	switch i {
	case incident.ReadOnly:
		m.Symbol, m.Style = t.sign("·", "."), t.Dim
	case incident.Additive:
		m.Symbol, m.Style = "+", t.Accent
	case incident.Disruptive:
		m.Symbol, m.Style = "!", t.Warn
	case incident.Irreversible:
		m.Symbol, m.Style = t.sign("‼", "#"), t.Bad
	}
	return m
}

// Arrow stands between before and after.
func (t *Theme) Arrow() string { return t.sign("→", "->") }

// Cursor marks the chosen line; the same width as what stands before the others.
func (t *Theme) Cursor(chosen bool) string {
	if chosen {
		return t.Accent.Render(t.sign("▸", ">")) + " "
	}
	return "  "
}

// Rule is a horizontal line with a heading.
func (t *Theme) Rule(heading string, width int) string {
	if t.Still {
		return heading + ":" // a row of dashes would be read aloud
	}
	line := t.sign("─", "-")
	text := line + line + " " + heading + " "
	return t.Dim.Render(line+line+" ") + t.Strong.Render(heading) + t.Dim.Render(" "+strings.Repeat(line, max(0, width-cells(text))))
}

// Gauge draws done of total in width cells.
func (t *Theme) Gauge(done, total int64, width int) string {
	if total <= 0 || width <= 0 || t.Still {
		return ""
	}
	full := int(min(max(done, 0), total) * int64(width) / total)
	return t.Accent.Render(strings.Repeat(t.sign("█", "#"), full)) + t.Dim.Render(strings.Repeat(t.sign("░", "."), width-full))
}

// legend explains the signs: of steps' states, and of impacts.
func legend(t *Theme) []string {
	var states, impacts []string
	for s := incident.Pending; s <= incident.Unknown; s++ {
		states = append(states, t.State(s).String())
	}
	for i := incident.ReadOnly; i <= incident.Irreversible; i++ {
		impacts = append(impacts, t.Impact(i).String())
	}
	half := len(states) / 2
	return []string{strings.Join(states[:half], "  "), strings.Join(states[half:], "  "), strings.Join(impacts, "  ")}
}
