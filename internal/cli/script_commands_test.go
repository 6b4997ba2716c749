package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// exits CODE CMD ARGS… runs a command that must end with exactly that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

var lastWord = regexp.MustCompile(`(\S+)\s*$`)

// suspect VAR FILE sets VAR to the last word of FILE: the instance that
// 'rehearse new' names in its last line.
func suspect(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: suspect VAR FILE")
	}
	m := lastWord.FindStringSubmatch(ts.ReadFile(args[1]))
	if m == nil {
		ts.Fatalf("%s is empty", args[1])
	}
	ts.Setenv(args[0], m[1])
}

var moment = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)

// unchanged FILE runs 'rehearse show' and compares it with FILE, but for the
// time: nothing in the account may have changed, though reading it took time.
func unchanged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: unchanged FILE")
	}
	ts.Check(ts.Exec("cordon", "rehearse", "show", ts.Getenv("CORDON_REHEARSAL")))
	before, now := moment.ReplaceAllString(ts.ReadFile(args[0]), ""), moment.ReplaceAllString(ts.ReadFile("stdout"), "")
	if before != now {
		ts.Fatalf("the account has changed:\n%s\nwas\n%s", now, before)
	}
}

// flip FILE TEXT changes one bit of the first byte of TEXT's last occurrence in FILE.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE TEXT")
	}
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	i := bytes.LastIndex(b, []byte(args[1]))
	if i < 0 {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	b[i] ^= 1
	ts.Check(os.WriteFile(path, b, 0o600))
}

// damage CASE KIND VAR changes a bit of what the rehearsal's bucket keeps of
// the case's first item of a kind, and sets VAR to the item's ID.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: damage CASE KIND VAR")
	}
	ts.Check(ts.Exec("cordon", "--output", "json", "evidence", "list", "--case", args[0]))
	var manifest struct {
		Items []struct{ ID, Kind, SHA256 string }
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &manifest))
	for _, i := range manifest.Items {
		if i.Kind != args[1] {
			continue
		}
		path := filepath.Join(ts.Getenv("CORDON_REHEARSAL"), "blobs", i.SHA256)
		b, err := os.ReadFile(path)
		ts.Check(err)
		b[len(b)/2] ^= 1
		ts.Check(os.WriteFile(path, b, 0o600))
		ts.Setenv(args[2], i.ID)
		return
	}
	ts.Fatalf("case %s has no item of kind %s", args[0], args[1])
}

// entries VAR CASE sets VAR to the number of entries in the case's journal.
func entries(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: entries VAR CASE")
	}
	ts.Check(ts.Exec("cordon", "--output", "json", "case", "show", args[1]))
	var c struct{ Entries int }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &c))
	ts.Setenv(args[0], strconv.Itoa(c.Entries))
}

// subst VAR FILE puts the variable's value where FILE names it.
func subst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: subst VAR FILE")
	}
	text := strings.ReplaceAll(ts.ReadFile(args[1]), "$"+args[0], ts.Getenv(args[0]))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}
