package cli

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnInterruptSaysWhatItEnded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "account")
	cordon := func(ctx context.Context, args ...string) (int, string) {
		var out, errw bytes.Buffer
		code := Execute(ctx, args, strings.NewReader(""), &out, &errw)
		return code, errw.String()
	}
	for _, args := range [][]string{{"rehearse", "new", "web-tier", dir}, {"--rehearsal", dir, "case", "open", "INC-1"}} {
		if code, text := cordon(t.Context(), args...); code != exitDone {
			t.Fatalf("%q: %d: %s", args, code, text)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code, text := cordon(ctx, "--rehearsal", dir, "journal", "follow", "--case", "INC-1", "--until", "run.ended")
	if code != exitInterrupted || !strings.HasPrefix(text, "error: cordon journal follow was interrupted: ") || !strings.Contains(text, "\nhint: repeat the command\n") {
		t.Errorf("exit code %d: %s", code, text)
	}
}
