package main

import (
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A cell's size, in pixels.
const (
	cellWidth, cellHeight = 8, 17
	margin                = 10
)

// palette is that of a terminal: its sixteen colours, then its foreground and background.
type palette [18]string

// look is a terminal's, and what the names of its pictures end with.
type look struct {
	suffix  string
	palette palette
}

var looks = []look{
	{"", palette{
		"#1e2127", "#e06c75", "#98c379", "#d19a66", "#61afef", "#c678dd", "#56b6c2", "#abb2bf",
		"#5c6370", "#ff7b86", "#b5e08d", "#e5c07b", "#7cc3ff", "#de8ff0", "#7fdbe6", "#ffffff",
		"#c8ccd4", "#1e2127",
	}},
	{"-light", palette{
		"#24292f", "#cf222e", "#116329", "#7d4e00", "#0550ae", "#8250df", "#1b7c83", "#6e7781",
		"#57606a", "#a40e26", "#1a7f37", "#d4a72c", "#0969da", "#a475f9", "#3192aa", "#ffffff",
		"#24292f", "#ffffff",
	}},
}

const foreground, background = 16, 17

// style is how a piece of text looks; colours are places in a palette.
type style struct {
	fg, bg              int
	bold, faint, invert bool
}

var plain = style{fg: foreground, bg: background}

// apply changes the style by the parameters of an SGR sequence (ECMA-48, 8.3.117).
func (s style) apply(parameters string) style {
	for _, p := range strings.Split(parameters, ";") {
		n, err := strconv.Atoi(p)
		switch {
		case err != nil || n == 0:
			s = plain
		case n == 1:
			s.bold = true
		case n == 2:
			s.faint = true
		case n == 7:
			s.invert = true
		case n == 22:
			s.bold, s.faint = false, false
		case n == 27:
			s.invert = false
		case n >= 30 && n <= 37:
			s.fg = n - 30
		case n == 39:
			s.fg = foreground
		case n >= 40 && n <= 47:
			s.bg = n - 40
		case n == 49:
			s.bg = background
		case n >= 90 && n <= 97:
			s.fg = n - 90 + 8
		case n >= 100 && n <= 107:
			s.bg = n - 100 + 8
		}
	}
	return s
}

// svg draws a screen as tmux captures it with -e. Each of its characters is one cell wide.
func (p palette) svg(screen string, columns, lines int) string {
	var b strings.Builder
	width, height := columns*cellWidth+2*margin, lines*cellHeight+2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="13">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="6" fill="%s"/>`+"\n", p[background])
	s := plain
	for y, line := range strings.Split(strings.TrimRight(screen, "\n"), "\n") {
		x := 0
		for i, part := range strings.Split(line, "\x1b[") {
			if i > 0 {
				parameters, rest, _ := strings.Cut(part, "m")
				s, part = s.apply(parameters), rest
			}
			p.draw(&b, s, part, x, y)
			x += utf8.RuneCountInString(part)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// draw writes a piece of a line that looks the same all over.
func (p palette) draw(b *strings.Builder, s style, text string, x, y int) {
	fg, bg := s.fg, s.bg
	if s.invert {
		fg, bg = bg, fg
	}
	n := utf8.RuneCountInString(text)
	left, top := margin+x*cellWidth, margin+y*cellHeight
	if bg != background && n > 0 {
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", left, top, n*cellWidth, cellHeight, p[bg])
	}
	bare := strings.TrimLeft(text, " ")
	left += (n - utf8.RuneCountInString(bare)) * cellWidth
	if bare = strings.TrimRight(bare, " "); bare == "" {
		return
	}
	more := ""
	if s.bold {
		more += ` font-weight="bold"`
	}
	if s.faint {
		more += ` opacity="0.7"`
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" textLength="%d" lengthAdjust="spacingAndGlyphs" xml:space="preserve" fill="%s"%s>%s</text>`+"\n",
		left, top+cellHeight-4, utf8.RuneCountInString(bare)*cellWidth, p[fg], more, html.EscapeString(bare))
}
