package cli

import (
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary stand in for cordon: scripts run it as a
// command, and TestKilled… as processes to kill.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cordon": mainForTests})
}

func mainForTests() {
	g := &globals{in: os.Stdin, out: os.Stdout, err: os.Stderr, appended: signalledEntry()}
	os.Exit(g.execute(UntilSignal(context.Background()), os.Args[1:]))
}

// TestScripts runs the commands as a user does. Each script has a home and an
// AWS configuration of its own, and no way to a real account.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			for name, value := range map[string]string{
				"HOME": e.WorkDir, "XDG_STATE_HOME": e.WorkDir + "/state", "XDG_CONFIG_HOME": e.WorkDir + "/config",
				"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": e.WorkDir + "/aws-config", "AWS_SHARED_CREDENTIALS_FILE": e.WorkDir + "/aws-credentials",
				"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
				"CORDON_HOME": "", "CORDON_CONFIG": "", "CORDON_REHEARSAL": "",
			} {
				e.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "suspect": suspect, "unchanged": unchanged, "flip": flip, "damage": damage, "entries": entries, "vandal": vandal, "trespass": trespass, "pass": pass, "fault": fault,
			"subst": subst,
		},
	})
}
