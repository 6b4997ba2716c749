package tui

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/cordon-ir/cordon/internal/clock"
)

// heard is what a screen reader gets; it tells when a text has come.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() {
		select {
		case h.more <- struct{}{}:
		default:
		}
	}()
	return h.text.Write(b)
}

// since waits until a text has come after the first from bytes, and returns them all.
func (h *heard) since(from int, want string) string {
	for {
		h.mu.Lock()
		text := h.text.String()
		h.mu.Unlock()
		if strings.Contains(text[from:], want) {
			return text
		}
		<-h.more
	}
}

func TestAScreenReaderHearsWhatIsNewAndTypesKeys(t *testing.T) {
	d := homeDesk(t)
	d.env.Theme.Still, d.env.Theme.Unicode = true, false
	home := d.top().screen.(*Home)
	home.reading = true // nothing is read behind these cases
	d.env.Clock = clock.Wall{}
	in, typed := io.Pipe()
	out := &heard{more: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := showLines(t.Context(), d.App, in, out); err != nil {
			t.Error(err)
		}
	})
	at := 0
	hears := func(want string) string {
		text := out.since(at, want)
		news := text[at:]
		at = len(text)
		return news
	}
	first := hears("q quit")
	for _, want := range []string{"REHEARSAL", "> INC-2041", "* 1 step waits for approval", "INC-2020"} {
		if !strings.Contains(first, want) {
			t.Errorf("%q is not said:\n%s", want, first)
		}
	}
	io.WriteString(typed, "down\n")
	if news := hears("> INC-2040"); strings.Contains(news, "INC-2039") || strings.Contains(news, "INC-2041") {
		t.Errorf("what has not changed is said again:\n%s", news)
	}
	io.WriteString(typed, "/\n")
	hears("filter:")
	io.WriteString(typed, "miner\n")
	if news := hears("filter: miner"); strings.Contains(news, "INC-2041") {
		t.Errorf("the filter does not hold:\n%s", news)
	}
	io.WriteString(typed, "nonsense\n")
	hears("nonsense is none")
	io.WriteString(typed, "q\n")
	typed.Close() // a pipe can't be cancelled, as a terminal can
	wg.Wait()
	if text := out.since(0, "q quit"); strings.ContainsAny(text, "\x1b─") {
		t.Errorf("there are escape sequences or lines in it: %q", text)
	}
}

func TestTheLocaleDecidesOnUnicode(t *testing.T) {
	for env, want := range map[string]bool{
		"": false, "LANG=C": false, "LANG=en_US.UTF-8": true, "LANG=de_DE.utf8": true,
		"LANG=en_US.UTF-8 LC_ALL=C": false, "LC_CTYPE=C.UTF-8 LANG=C": true, "LC_ALL= LANG=C.UTF-8": true,
	} {
		if got := isUnicode(strings.Fields(env)); got != want {
			t.Errorf("%q: %v", env, got)
		}
	}
}

func TestACommandLineCanBeTypedAsItIsShown(t *testing.T) {
	c := &Cordon{Globals: []string{"--rehearsal", "my training"}}
	if got, want := c.Line("note", "--case", "INC-1", "it's $HOME"), `cordon --rehearsal 'my training' note --case INC-1 'it'\''s $HOME'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWhatACommandComplainsAboutIsFound(t *testing.T) {
	for stderr, want := range map[string][2]string{
		"error: no such case\nhint: open it\n":           {"no such case", "open it"},
		"12% done\nerror: a\nb\n":                        {"a\nb", ""},
		"panic: runtime error\n\ngoroutine 1 [running]:": {"panic: runtime error\n\ngoroutine 1 [running]:", ""},
		"": {"", ""},
	} {
		if message, hint := complaint(stderr); message != want[0] || hint != want[1] {
			t.Errorf("%q: %q, %q", stderr, message, hint)
		}
	}
}
