package tui

import (
	"fmt"
	"strings"
)

// scroll shows a part of a long text.
type scroll struct {
	top   int
	lines int // of the text, when it was drawn last
	page  int
}

// key scrolls; false: it was another key.
func (s *scroll) key(key string) bool {
	switch key {
	case "up", "k":
		s.top--
	case "down", "j":
		s.top++
	case "pgup", "b":
		s.top -= s.page
	case "pgdown", "space", "f":
		s.top += s.page
	case "home", "g":
		s.top = 0
	case "end", "G":
		s.top = s.lines
	default:
		return false
	}
	s.clamp()
	return true
}

func (s *scroll) clamp() { s.top = max(0, min(s.top, s.lines-s.page)) }

// view draws the part; its last line says that there is more.
func (s *scroll) view(t *Theme, text string, size Size) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	s.lines, s.page = len(lines), max(1, size.H-1)
	s.clamp()
	if len(lines) <= size.H {
		return text
	}
	last := min(s.top+s.page, len(lines))
	return strings.Join(lines[s.top:last], "\n") + "\n" + t.Dim.Render(fmt.Sprintf(" lines %d to %d of %d", s.top+1, last, len(lines)))
}

// listPart draws the lines of a list around the chosen one; where not all fit, the last says so.
func listPart(t *Theme, at, n int, size Size, line func(int) string) string {
	height := size.H
	if n > height {
		height--
	}
	var b strings.Builder
	first, last := window(at, n, height)
	for i := first; i < last; i++ {
		b.WriteString(fit(line(i), size.W) + "\n")
	}
	if last-first < n {
		b.WriteString(t.Dim.Render(fmt.Sprintf("  %d to %d of %d", first+1, last, n)) + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
