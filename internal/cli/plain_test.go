package cli

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func TestTextDoesNothingToATerminal(t *testing.T) {
	for text, want := range map[string]string{
		"web\t東京 ✓\n":         "web\t東京 ✓\n",
		"\x1b[2Jgone\r\a":     `\x1b[2Jgone\x0d\x07`,
		"\u009b31m\x7f":       `\u009b31m\x7f`,
		"ok\u202eko\u2066":    `ok\u202eko\u2066`,
		"\xff\xfe and \ufffd": `\xff\xfe and ` + "\ufffd",
	} {
		var out bytes.Buffer
		if n, err := (&plainWriter{to: &out}).Write([]byte(text)); n != len(text) || err != nil || out.String() != want {
			t.Errorf("%q is written as %q (%d, %v), want %q", text, out.String(), n, err, want)
		}
	}
}

func TestTextIsPlainHoweverItIsCutIntoWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text") + "."
		var whole, pieces bytes.Buffer
		if _, err := (&plainWriter{to: &whole}).Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		w := &plainWriter{to: &pieces}
		for rest := []byte(text); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "bytes")
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if pieces.String() != whole.String() {
			t.Fatalf("in pieces %q, at once %q", pieces.String(), whole.String())
		}
		if i := strings.IndexFunc(whole.String(), func(r rune) bool {
			return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
		}); i >= 0 {
			t.Fatalf("%q holds a control character", whole.String())
		}
	})
}

func TestATitleFromElsewhereDoesNothingToATerminal(t *testing.T) {
	home := t.TempDir()
	cordon := func(args ...string) string {
		var out, said bytes.Buffer
		if code := Execute(t.Context(), append([]string{"--home", home}, args...), strings.NewReader(""), &out, &said); code != 0 {
			t.Fatalf("cordon %q: %d, %s", args, code, said.String())
		}
		return out.String() + said.String()
	}
	const title = "web\x1b[2J\u202eshell"
	cordon("case", "open", "INC-1", "--title", title)
	for _, args := range [][]string{{"case", "list"}, {"case", "show", "INC-1"}, {"journal", "show", "--case", "INC-1"}} {
		if got := cordon(args...); !strings.Contains(got, `web\x1b[2J\u202eshell`) {
			t.Errorf("cordon %q:\n%q", args, got)
		}
	}
	if got := cordon("journal", "export", "--case", "INC-1"); !strings.Contains(got, `web\u001b[2J`+"\u202e") {
		t.Errorf("an export is not as it was hashed:\n%q", got)
	}
}
