package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/adrg/xdg"
	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/cordon-ir/cordon/capture"
	"github.com/cordon-ir/cordon/cleanroom"
	"github.com/cordon-ir/cordon/internal/access"
	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/config"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/internal/vault"
	"github.com/cordon-ir/cordon/isolate"
)

// workspace is what a command works in: the home, and the account, real or
// simulated, with its clock.
type workspace struct {
	g       *globals
	home    string
	config  config.Config
	clock   incident.Clock
	account *rehearsal.Account // nil: AWS
	// retention is the case's own, once a case is open here; a command works in one.
	retention incident.Retention
	base      func(ctx context.Context, region string) (aws.Config, error)
	// afterwards is said after a run's summary; nil: nothing.
	afterwards func(context.Context) error
}

// open finds the home, the configuration and the account. It reads files only;
// nothing is asked of AWS.
func (g *globals) open() (*workspace, error) {
	w := &workspace{g: g, home: g.home, clock: clock.Wall{}}
	configFile := g.configFile
	if g.rehearsal != "" {
		account, err := rehearsal.Open(g.rehearsal)
		if err != nil {
			return nil, incident.WithHint(&usageError{err}, "'cordon rehearse new web-tier DIR' makes one")
		}
		w.simulate(account)
		if configFile == "" {
			configFile = filepath.Join(g.rehearsal, "config.yaml")
		}
		if w.home == "" {
			w.home = rehearsalHome(g.rehearsal)
		}
	}
	if w.home == "" {
		w.home = defaultHome()
	}
	var err error
	if w.config, err = config.Load(configFile); err != nil {
		return nil, incident.WithHint(&usageError{err}, "docs/configuration.md says what the file holds; --config or CORDON_CONFIG names another")
	}
	if w.account == nil {
		w.base = access.Load(access.LoadOptions{
			Profile: orElse(g.profile, unlessSet(w.config.Profile, "AWS_PROFILE")),
			Region:  orElse(g.region, unlessSet(w.config.Region, "AWS_REGION", "AWS_DEFAULT_REGION")),
			RoleARN: g.roleARN, MFASerial: g.mfaSerial, EndpointURL: g.endpoint, MFAToken: g.askMFA, Clock: w.clock,
		})
	}
	return w, nil
}

func defaultHome() string { return filepath.Join(xdg.StateHome, "cordon") }

// simulate puts the simulated account where AWS would be.
func (w *workspace) simulate(account *rehearsal.Account) {
	w.account, w.clock = account, account.Clock()
	w.base = func(_ context.Context, region string) (aws.Config, error) {
		return account.Config(orElse(region, orElse(w.g.region, account.Alert().Region))), nil
	}
}

func orElse(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// unlessSet is what the configuration file says, where the environment says nothing.
func unlessSet(configured string, variables ...string) string {
	for _, v := range variables {
		if os.Getenv(v) != "" {
			return ""
		}
	}
	return configured
}

func (g *globals) askMFA() (string, error) {
	fmt.Fprintf(g.err, "MFA code for %s: ", g.mfaSerial)
	line, err := bufio.NewReader(g.in).ReadString('\n')
	return strings.TrimSpace(line), err
}

// isRehearsal reports whether AWS is simulated here.
func (w *workspace) isRehearsal() bool { return w.account != nil }

// caseDir is where the case lives. It refuses an ID that is no file name.
func (w *workspace) caseDir(id string) (string, error) {
	if err := requireCase(id); err != nil {
		return "", err
	}
	if err := journal.CheckCaseID(id); err != nil {
		return "", &usageError{err}
	}
	return filepath.Join(w.home, "cases", id), nil
}

// cases lists the IDs of the cases here.
func (w *workspace) cases() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(w.home, "cases"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && journal.CheckCaseID(e.Name()) == nil {
			ids = append(ids, e.Name())
		}
	}
	return ids, err
}

// outliveReader keeps a reader of our output that goes away, as head does, from
// ending a process between two steps: the write fails, the work goes on, and
// the journal has what was to be shown.
func outliveReader() { signal.Ignore(syscall.SIGPIPE) }

// hold opens the case's journal for writing. It fails with *journal.HeldError
// where another process has it, and refuses a rehearsal's case outside its
// kind of account.
func (w *workspace) hold(ctx context.Context, id string) (*journal.Journal, error) {
	dir, err := w.caseDir(id)
	if err != nil {
		return nil, err
	}
	outliveReader()
	key, err := journal.LoadKey(w.home)
	if err != nil {
		return nil, err
	}
	j, err := journal.Open(ctx, dir, key, w.clock)
	if err != nil {
		return nil, w.explainCase(id, err)
	}
	if err := w.sameWorld(j.Case()); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	w.retention = j.Case().Retention
	return j, nil
}

func (w *workspace) explainCase(id string, err error) error {
	if errors.Is(err, journal.ErrNoCase) {
		return incident.WithHint(&usageError{fmt.Errorf("case %s: %w", id, err)}, "'cordon case list' shows the cases; 'cordon case open "+id+"' opens it")
	}
	return fmt.Errorf("case %s: %w", id, err)
}

// explainHome adds the way out where the home can't be read or written.
func (w *workspace) explainHome(err error) error {
	return incident.WithHint(err, "cases and the key that signs their journals live in "+w.home+"; --home or CORDON_HOME names another place")
}

// sameWorld keeps rehearsals and real incidents apart.
func (w *workspace) sameWorld(c incident.Case) error {
	switch {
	case c.Rehearsal && !w.isRehearsal():
		return incident.WithHint(usagef("case %s was opened in a REHEARSAL and can't be used against AWS", c.ID), "add --rehearsal DIR, or open another case")
	case !c.Rehearsal && w.isRehearsal():
		return incident.WithHint(usagef("case %s is a real one and can't be used in a rehearsal", c.ID), "leave out --rehearsal, or open another case")
	}
	return nil
}

// record is everything the journal says of a case, folded.
type record struct {
	dir     string
	entries []incident.Entry
	state   *incident.State
	custody *evidence.Custody
}

// read folds the case's journal, live or not, without holding it.
func (w *workspace) read(ctx context.Context, id string) (*record, error) {
	r, err := w.readAny(ctx, id)
	if err != nil {
		return nil, err
	}
	return r, w.sameWorld(r.state.Case)
}

// readAny is read for commands that only look: a rehearsal's case may be looked at from anywhere.
func (w *workspace) readAny(ctx context.Context, id string) (*record, error) {
	dir, err := w.caseDir(id)
	if err != nil {
		return nil, err
	}
	r := &record{dir: dir, state: incident.NewState(), custody: evidence.NewCustody()}
	for e, err := range journal.Read(ctx, dir) {
		if err != nil {
			return nil, w.explainCase(id, err)
		}
		if err := r.add(e); err != nil {
			return nil, err
		}
	}
	w.retention = r.state.Case.Retention
	return r, nil
}

// look opens the workspace and reads a case, for a command that only shows it.
func (g *globals) look(ctx context.Context, id string) (*workspace, *record, error) {
	w, err := g.open()
	if err != nil {
		return nil, nil, err
	}
	r, err := w.readAny(ctx, id)
	return w, r, err
}

// fold reads a held journal.
func fold(j *journal.Journal) (*record, error) {
	r := &record{state: incident.NewState(), custody: evidence.NewCustody()}
	for e, err := range j.Entries(0) {
		if err != nil {
			return nil, err
		}
		if err := r.add(e); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *record) add(e incident.Entry) error {
	r.entries = append(r.entries, e)
	if err := r.state.Add(e); err != nil {
		return fmt.Errorf("journal entry %d: %w", e.Seq, err)
	}
	return r.custody.Add(e)
}

// appender is the journal as its writers see it. In a rehearsal the clock
// stands still while an entry goes to disk: a slow disk must not look like
// everybody asleep.
func (w *workspace) appender(j *journal.Journal) incident.Appender {
	var a incident.Appender = j
	if w.account != nil {
		a = steadyJournal{j, w.account.Clock()}
	}
	if w.g.appended != nil {
		a = watchedJournal{a, w.g.appended}
	}
	return a
}

// watchedJournal tells of each entry that is on disk.
type watchedJournal struct {
	incident.Appender
	appended func()
}

func (w watchedJournal) Append(ctx context.Context, d incident.Draft) (incident.Entry, error) {
	e, err := w.Appender.Append(ctx, d)
	if err == nil {
		w.appended()
	}
	return e, err
}

type steadyJournal struct {
	*journal.Journal
	clock *clock.Simulated
}

func (s steadyJournal) Append(ctx context.Context, d incident.Draft) (incident.Entry, error) {
	s.clock.Begin()
	defer s.clock.End(s.clock.Now(), 0)
	return s.Journal.Append(ctx, d)
}

// access gives recorded AWS configurations. A nil journal allows reads only.
func (w *workspace) access(j incident.Appender, caseID string) *access.Access {
	return access.New(access.Options{
		Base: w.base, Roles: w.config.Roles(), Journal: j, Case: caseID, Version: version(), Clock: w.clock,
		Verbose: w.g.verbose, Rehearsal: w.isRehearsal(),
	})
}

// registry wires every action there is to the account.
func (w *workspace) registry(a *access.Access) (incident.Registry, error) {
	store := func(ctx context.Context, t incident.Target) (evidence.Store, error) { return w.store(ctx, a, t) }
	var actions []incident.Action
	actions = append(actions, isolate.Actions(a.Config)...)
	actions = append(actions, capture.Actions(a.Config, store)...)
	actions = append(actions, cleanroom.Actions(a.Config, w.roomEvidence(store))...)
	return incident.NewRegistry(actions...)
}

// roomEvidence is what clean rooms can reach of the evidence store.
func (w *workspace) roomEvidence(store func(context.Context, incident.Target) (evidence.Store, error)) cleanroom.Evidence {
	e := w.config.Evidence
	all := cleanroom.Evidence{Bucket: e.Bucket, Prefix: e.Prefix, Region: e.Region, KMSKey: e.KMSKey}
	if w.hasStore() {
		all.Store = store
	}
	return all
}

// specs are those of every action there is; they need no account.
func specs() ([]incident.Spec, error) {
	r, err := (&workspace{g: &globals{}, clock: clock.Wall{}}).registry(access.New(access.Options{Clock: clock.Wall{}}))
	if err != nil {
		return nil, err
	}
	return r.Specs(), nil
}

var errNoStore = incident.WithHint(errors.New("no evidence store is configured"),
	"name an S3 bucket with Object Lock under evidence.bucket in the configuration file (docs/configuration.md)")

func (w *workspace) hasStore() bool {
	return w.config.Evidence.Bucket != "" || w.config.Evidence.Directory != ""
}

// store is the evidence store that the configuration names, reached with the
// credentials of the target's account.
func (w *workspace) store(ctx context.Context, a *access.Access, t incident.Target) (evidence.Store, error) {
	e := w.config.Evidence
	if e.Directory != "" {
		return vault.NewDirectory(e.Directory), nil
	}
	if !w.hasStore() {
		return nil, errNoStore
	}
	if e.Region != "" {
		t.Region = e.Region
	}
	cfg, err := a.Config(ctx, t)
	if err != nil {
		return nil, err
	}
	return vault.NewS3(cfg, w.s3Options(), w.clock), nil
}

// s3Options are those of the bucket that the configuration names, with the
// case's own retention.
func (w *workspace) s3Options() vault.S3Options {
	e := w.config.Evidence
	e.Mode = orElse(w.retention.Mode, orElse(e.Mode, "governance"))
	if w.retention.Days > 0 {
		e.Days = w.retention.Days
	}
	e.LegalHold = e.LegalHold || w.retention.Hold
	return vault.S3Options{
		Bucket: e.Bucket, Prefix: e.Prefix, Region: e.Region, Mode: strings.ToUpper(e.Mode), Days: e.Days, KMSKey: e.KMSKey, LegalHold: e.LegalHold, Account: e.Account,
	}
}

// here is the account and Region that the credentials are for; it names no instance.
func (w *workspace) here(ctx context.Context, a *access.Access) (incident.Target, error) {
	cfg, err := w.base(ctx, "")
	if err != nil {
		return incident.Target{}, err
	}
	account, _, err := a.Identity(ctx, cfg.Region)
	if err != nil {
		return incident.Target{}, fmt.Errorf("asking AWS who we are: %w", err)
	}
	return incident.Target{Account: account, Region: cfg.Region}, nil
}
