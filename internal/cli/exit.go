package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/cordon-ir/cordon/internal/access"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/internal/problem"
	"github.com/cordon-ir/cordon/playbooks"
)

// The exit codes of docs/cli.md.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitIncomplete  = 3
	exitVerify      = 4
	exitNotApproved = 5
	exitNotReady    = 6
	exitHeld        = 7
	exitInterrupted = 130
)

// outcomeError ends a command whose run did not succeed; it has been reported
// by the summary already.
type outcomeError struct {
	code    int
	message string
	hint    string
}

func (e *outcomeError) Error() string { return e.message }

// errNotApproved: nobody said yes, so nothing was changed.
var errNotApproved = errors.New("not approved: nothing was changed")

// report prints the error and its hint, and maps it to the exit code.
func (g *globals) report(err error) int {
	if err == nil {
		return exitDone
	}
	err = access.Explain(err)
	code, hint := exitCode(err), g.hintOf(err)
	if outcome := (*outcomeError)(nil); code == exitInterrupted && !errors.As(err, &outcome) {
		err, hint = fmt.Errorf("%s was interrupted: %w", g.command, err), orElse(hint, "repeat the command")
	}
	fmt.Fprintf(g.err, "error: %s\n", err)
	if hint != "" {
		fmt.Fprintf(g.err, "hint: %s\n", hint)
	}
	return code
}

func exitCode(err error) int {
	var (
		outcome  *outcomeError
		usage    *usageError
		problems *problem.Error
		input    *incident.InputError
		refused  *incident.RefusedError
		drift    *incident.DriftError
		held     *journal.HeldError
		verify   *journal.VerifyError
		corrupt  *journal.CorruptError
		profile  awsconfig.SharedConfigProfileNotExistError
	)
	switch {
	case errors.As(err, &outcome):
		return outcome.code
	case errors.As(err, &usage), errors.As(err, &problems), errors.As(err, &input), errors.As(err, &refused), errors.As(err, &drift), errors.Is(err, evidence.ErrNotLocked), errors.Is(err, playbooks.ErrUnknown):
		return exitUsage
	case errors.Is(err, access.ErrNoRegion), errors.As(err, &profile):
		return exitUsage
	case errors.As(err, &verify), errors.As(err, &corrupt), errors.Is(err, evidence.ErrDigest), errors.Is(err, evidence.ErrNotFound):
		return exitVerify
	case errors.Is(err, errNotApproved):
		return exitNotApproved
	case errors.Is(err, errNotReady):
		return exitNotReady
	case errors.As(err, &held):
		return exitHeld
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitFailed
	}
}

// hintOf is the next step that the error carries, or the one its kind implies.
func (g *globals) hintOf(err error) string {
	var (
		outcome *outcomeError
		hinted  *incident.HintError
		held    *journal.HeldError
		usage   *usageError
		drift   *incident.DriftError
		input   *incident.InputError
		verify  *journal.VerifyError
		corrupt *journal.CorruptError
	)
	switch {
	case errors.As(err, &outcome):
		return outcome.hint
	case errors.As(err, &hinted):
		return hinted.Hint
	case errors.As(err, &held):
		flag := " --case " + filepath.Base(held.Dir)
		return "follow it with 'cordon journal follow" + flag + "', or end it with 'cordon interrupt" + flag + "'"
	case errors.As(err, &usage):
		return "'" + g.command + " --help' shows what it takes"
	case errors.As(err, &input):
		return "'cordon playbook show NAME' shows a playbook's steps and inputs"
	case errors.As(err, &verify), errors.As(err, &corrupt):
		return "keep the file as it is, and compare it with an export or a copy; the checkpoints in the evidence store say up to which entry it was whole"
	case errors.Is(err, evidence.ErrDigest), errors.Is(err, evidence.ErrNotFound):
		return "what is stored is not what was recorded: leave it as it is, and look at the object's versions and who could write them (CloudTrail)"
	case errors.As(err, &drift):
		return "look at the differences; 'cordon release --force' puts the before-state back all the same"
	default:
		return ""
	}
}
