package tui

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// cells is how many terminal cells a text takes, styles aside.
func cells(s string) int { return ansi.StringWidth(s) }

// fit makes a styled text exactly width cells wide.
func fit(s string, width int) string {
	if width <= 0 {
		return ""
	}
	n := cells(s)
	if n > width {
		s = ansi.Truncate(s, width, "…")
		n = cells(s)
	}
	return s + strings.Repeat(" ", width-n)
}

// frame makes a text exactly as large as size.
func frame(s string, size Size) string {
	lines := strings.Split(s, "\n")
	if len(lines) > size.H {
		lines = lines[:size.H]
	}
	var b strings.Builder
	for i := range size.H {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i < len(lines) {
			b.WriteString(fit(lines[i], size.W))
		} else {
			b.WriteString(strings.Repeat(" ", size.W))
		}
	}
	return b.String()
}

// wrap breaks a text without styles into lines of at most width cells, at spaces;
// not at hyphens, which IDs are full of. A word that is too long is cut.
func wrap(s string, width int) (lines []string) {
	if width <= 0 {
		return nil
	}
	for _, paragraph := range strings.Split(s, "\n") {
		line := ""
		for i, word := range strings.Split(paragraph, " ") {
			if i > 0 && cells(line)+1+cells(word) <= width {
				line += " " + word
				continue
			}
			if i > 0 {
				lines = append(lines, line)
			}
			for cells(word) > width {
				part := ansi.Truncate(word, width, "")
				if part == "" {
					break // one sign is wider than the line
				}
				lines = append(lines, part)
				word = word[len(part):]
			}
			line = word
		}
		lines = append(lines, line)
	}
	return lines
}

// beside puts two texts next to each other; left is leftWidth cells wide.
func beside(left string, leftWidth int, right string, size Size) string {
	const gap = 2
	l := strings.Split(frame(left, Size{leftWidth, size.H}), "\n")
	r := strings.Split(frame(right, Size{size.W - leftWidth - gap, size.H}), "\n")
	for i := range l {
		l[i] += strings.Repeat(" ", gap) + r[i]
	}
	return strings.Join(l, "\n")
}

// clean makes a text that came from elsewhere safe to show: no escape
// sequences, no control characters, none that turn the direction of writing around, one line.
func clean(s string) string {
	s = ansi.Strip(s)
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}

// bytesText writes bytes in binary units (IEC 80000-13).
func bytesText(n int64) string {
	const k = 1024
	switch {
	case n >= k*k*k:
		return fmt.Sprintf("%.1f GiB", float64(n)/(k*k*k))
	case n >= k*k:
		return fmt.Sprintf("%.1f MiB", float64(n)/(k*k))
	case n >= k:
		return fmt.Sprintf("%.1f KiB", float64(n)/k)
	default:
		return fmt.Sprintf("%d B", n)
	}
}

// clockText writes how long something takes: 4:07, 1:02:45.
func clockText(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// tookText is short: 0.4s, 29s, 12m40s.
func tookText(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

// count writes a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// bigDigits are three lines high, three cells wide.
var bigDigits = map[rune][3]string{
	'0': {"█▀█", "█ █", "▀▀▀"}, '1': {"▀█ ", " █ ", "▀▀▀"}, '2': {"▀▀█", "█▀▀", "▀▀▀"}, '3': {"▀▀█", " ▀█", "▀▀▀"},
	'4': {"█ █", "▀▀█", "  ▀"}, '5': {"█▀▀", "▀▀█", "▀▀▀"}, '6': {"█▀▀", "█▀█", "▀▀▀"}, '7': {"▀▀█", "  █", "  ▀"},
	'8': {"█▀█", "█▀█", "▀▀▀"}, '9': {"█▀█", "▀▀█", "▀▀▀"}, ':': {"▄", "▄", " "},
}

// bigText writes a clock's text three lines high.
func bigText(s string) (lines [3]string) {
	for _, r := range s {
		for i, part := range bigDigits[r] {
			lines[i] += part + " "
		}
	}
	return lines
}
