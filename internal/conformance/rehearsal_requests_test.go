package conformance

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// rehearse runs the built program in a simulated account, verbosely: its
// journals have the reads too.
func rehearse(t *testing.T, account string, args ...string) []byte {
	t.Helper()
	out, err := rehearsed(account, args...).Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Fatalf("cordon %s: %v\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	return out
}

func rehearsed(account string, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, append([]string{"--verbose", "--yes", "--output", "json"}, args...)...)
	cmd.Env = append(os.Environ(), "CORDON_HOME=", "CORDON_CONFIG=", "CORDON_REHEARSAL="+account)
	return cmd
}

const rehearsalCase = "REHEARSAL-1"

// Every shipped playbook, with each input that makes a request different; then
// what follows a playbook.
func TestEveryRequestOfTheRehearsalsIsWellFormed(t *testing.T) {
	tests := []struct {
		name     string
		playbook string
		set      []string
		then     [][]string
	}{
		{"full response", "full-response", nil, [][]string{
			{"evidence", "list"}, {"cleanroom", "status"}, {"release"}, {"cleanroom", "close"},
		}},
		{"contain", "contain", nil, [][]string{{"release"}}},
		{"contain, in standby, drained", "contain", []string{"autoscaling_strategy=standby", "wait_for_draining=true"}, [][]string{{"release"}}},
		{"contain, the whole role", "contain", []string{"autoscaling_strategy=shrink", "credentials_scope=role"}, [][]string{{"release"}}},
		{"capture, locked for good", "capture", []string{"lock_mode=compliance", "lock_days=400"}, nil},
		{"capture, nothing locked", "capture", []string{"lock_mode=none", "image=false", "allow_unlocked=true"}, nil},
		{"exfiltration", "exfiltration", []string{"cleanroom=true"}, [][]string{{"release"}, {"cleanroom", "close"}}},
	}
	var all tally
	t.Run("playbooks", func(t *testing.T) {
		counted := make(chan tally, len(tests))
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				account := filepath.Join(t.TempDir(), "account")
				args := []string{"rehearse", "--dir", account, "--playbook", tt.playbook}
				for _, input := range tt.set {
					args = append(args, "--set", input)
				}
				rehearse(t, "", args...)
				for _, command := range tt.then {
					rehearse(t, account, append(command, "--case", rehearsalCase)...)
				}
				counted <- checkJournal(t, rehearse(t, account, "journal", "export", "--case", rehearsalCase))
			})
		}
		t.Cleanup(func() {
			close(counted)
			for n := range counted {
				all.add(n)
			}
		})
	})
	t.Logf("%s%s", all, all.list())
}
