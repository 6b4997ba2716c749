package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"unicode"
	"unicode/utf8"
)

// plainWriter writes text so that a terminal shows it and does nothing else. Names and tags, what an instance says of
// itself and what AWS answers can hold what an intruder chose: control characters and those that turn
// the direction of writing around (Unicode's Bidi_Control, by which a line can show something else than it
// says: https://trojansource.codes) become visible escapes, such as \x1b. It is safe for concurrent use.
type plainWriter struct {
	to   io.Writer
	mu   sync.Mutex
	rest []byte // the beginning of a character that was written in two parts
}

func (w *plainWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := append(w.rest, p...)
	plain := make([]byte, 0, len(text))
	for len(text) > 0 && utf8.FullRune(text) {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == '\n' || r == '\t':
			plain = append(plain, byte(r))
		case r < utf8.RuneSelf && unicode.IsControl(r), r == utf8.RuneError && n == 1:
			plain = fmt.Appendf(plain, `\x%02x`, text[0])
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			plain = fmt.Appendf(plain, `\u%04x`, r)
		default:
			plain = append(plain, text[:n]...)
		}
		text = text[n:]
	}
	w.rest = append([]byte(nil), text...)
	if _, err := w.to.Write(plain); err != nil {
		return 0, err
	}
	return len(p), nil
}

// fileOf is the file that w writes to, where it is one.
func fileOf(w io.Writer) (*os.File, bool) {
	if p, ok := w.(*plainWriter); ok {
		w = p.to
	}
	f, ok := w.(*os.File)
	return f, ok
}
