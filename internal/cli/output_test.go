package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// fullDisk takes the first bytes and no more.
type fullDisk struct{ room int }

var errFull = errors.New("no space left on device")

func (d *fullDisk) Write(p []byte) (int, error) {
	n := min(len(p), d.room)
	if d.room -= n; n < len(p) {
		return n, errFull
	}
	return n, nil
}

func TestOutputThatIsNotWholeFails(t *testing.T) {
	for _, args := range [][]string{
		{"version"}, {"--output", "json", "version"}, {"playbook", "list"}, {"playbook", "lint", "contain"}, {"--output", "json", "playbook", "show", "contain"}, {"rehearse", "list"}, {"--help"},
	} {
		var whole, errw bytes.Buffer
		if code := Execute(t.Context(), args, strings.NewReader(""), &whole, &errw); code != exitDone {
			t.Fatalf("%q: %d: %s", args, code, errw.String())
		}
		errw.Reset()
		code := Execute(t.Context(), args, strings.NewReader(""), &fullDisk{room: whole.Len() / 2}, &errw)
		if code != exitFailed || !strings.Contains(errw.String(), errFull.Error()) {
			t.Errorf("%q on a full disk: exit code %d: %s", args, code, errw.String())
		}
	}
}
