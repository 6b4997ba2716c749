package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/cordon-ir/cordon/capture/diskimage"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/internal/vault"
)

type verifyOptions struct {
	caseID, store, publicKey string
	item                     string // empty: all
	expires                  time.Duration
	storeOnly                bool
}

func newEvidenceVerify(g *globals) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify --case ID [ITEM] | --store s3://BUCKET/PREFIX|DIR [--case ID]",
		Short: "Re-read evidence from the store: every byte, retention, legal hold, versions",
		Long: `Re-reads evidence from the store: that every object is there in the version that was
recorded, with its bytes, its retention and its legal hold, and what lies on top.
Where the case is here, store and journal are compared both ways, and the result
is journaled as a custody event of each item. What AWS keeps itself (snapshots, copies,
AMIs) is looked at with the credentials of its account: that it is there, whole, locked
or protected as it was, and shared with nobody else. What AWS can't be asked about is
listed as not checked, and fails nothing; --store-only leaves AWS out.

With --store it needs neither the case nor access to where the evidence came
from: what should be there is read from the records and the signed manifests
in the store itself. --public-key, from the case's first entry, keeps a store that was forged
as a whole from passing.`,
		Args: atMostOne("ITEM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.item = args[0]
			}
			return runEvidenceVerify(cmd.Context(), g, o)
		},
	}
	addCaseFlag(cmd, &o.caseID)
	f := cmd.Flags()
	f.Lookup("case").Usage = "the case (without --store required)"
	f.StringVar(&o.store, "store", "", "verify from this store alone: s3://BUCKET/PREFIX or a directory")
	f.StringVar(&o.publicKey, "public-key", "", "the key that manifests and checkpoints must be signed with")
	f.DurationVar(&o.expires, "expires-within", 7*24*time.Hour, "warn of a retention that ends so soon")
	f.BoolVar(&o.storeOnly, "store-only", false, "don't ask AWS about the snapshots and images that it keeps")
	return cmd
}

// verifyReport is what evidence verify --output json prints.
type verifyReport struct {
	Store    string `json:"store"`
	Verified bool   `json:"verified"`
	// Journaled: the result is a custody event of each item.
	Journaled bool                  `json:"journaled"`
	Cases     []evidence.CaseReport `json:"cases"`
}

// check refuses what would make a verification say less, or something else, than it seems to.
func (o verifyOptions) check() error {
	if o.store == "" {
		if err := requireCase(o.caseID); err != nil {
			return err
		}
	}
	if o.item != "" && o.caseID == "" {
		return usagef("ITEM %s: of which case? add --case", o.item)
	}
	if o.expires < 0 {
		return usagef("--expires-within %s: want a time from now on", o.expires)
	}
	if o.publicKey == "" {
		return nil
	}
	if _, err := note.NewVerifier(o.publicKey); err != nil {
		return incident.WithHint(&usageError{fmt.Errorf("--public-key %q: %w", o.publicKey, err)},
			"it has the form NAME+ID+BASE64: public_key in the first entry of the case's journal, and in 'cordon --output json case show ID'")
	}
	return nil
}

func runEvidenceVerify(ctx context.Context, g *globals, o verifyOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	w, err := g.open()
	if err != nil {
		return err
	}
	r, err := w.journalOf(ctx, o)
	if err != nil {
		return err
	}
	store, err := w.storeToVerify(ctx, o.store, r)
	if err != nil {
		return err
	}
	cases, err := casesToVerify(ctx, store, o.caseID, r)
	if err != nil {
		return err
	}
	report := verifyReport{Store: store.String(), Verified: true}
	for _, c := range cases {
		v := evidence.Verifier{
			Store: store, Now: w.clock.Now(), Images: verifyImage, PublicKey: o.publicKey, Item: o.item, ExpiresWithin: o.expires,
			Progress: newMeter(g, w.clock, "re-reading case "+c.ID).show,
		}
		if r != nil {
			v.Custody = r.custody
			if o.store == "" && !o.storeOnly {
				v.InAWS = w.keeper(r).kept
			}
		}
		found, err := v.Case(ctx, c)
		if err != nil {
			return fmt.Errorf("verifying case %s in %s: %w", c.ID, store, err)
		}
		if o.item != "" && len(found.Items) == 0 {
			return incident.WithHint(usagef("neither the store nor the journal of case %s has an evidence item %s", c.ID, o.item), "without ITEM every item is verified, and listed")
		}
		report.Cases, report.Verified = append(report.Cases, found), report.Verified && found.Verified
	}
	if r != nil {
		report.Journaled = w.journalVerification(ctx, o.caseID, report)
	}
	return g.printVerification(report)
}

// verifyImage reads every byte of a disk image.
func verifyImage(ctx context.Context, s evidence.Store, index evidence.Ref) error {
	r, err := diskimage.Open(ctx, s, index)
	if err != nil {
		return err
	}
	return r.Verify(ctx, nil)
}

// journalOf folds the case's journal, where it is here.
func (w *workspace) journalOf(ctx context.Context, o verifyOptions) (*record, error) {
	if o.caseID == "" {
		return nil, nil
	}
	r, err := w.readAny(ctx, o.caseID)
	switch {
	case err == nil && o.store == "":
		return r, w.sameWorld(r.state.Case)
	case err == nil:
		return r, nil
	case errors.Is(err, journal.ErrNoCase) && o.store != "":
		return nil, nil
	case errors.Is(err, journal.ErrNoCase):
		return nil, incident.WithHint(err, "without its journal a case is verified from the store alone: --store s3://BUCKET/PREFIX --case "+o.caseID)
	default:
		return nil, err
	}
}

// storeToVerify is the store that the flag names, or the configuration's.
func (w *workspace) storeToVerify(ctx context.Context, name string, r *record) (evidence.Store, error) {
	if name != "" {
		return w.openStore(ctx, name, nil, "")
	}
	if !w.hasStore() {
		return nil, errNoStore
	}
	a := w.access(nil, r.state.Case.ID)
	target, ok := r.lastTarget()
	if !ok {
		var err error
		if target, err = w.here(ctx, a); err != nil {
			return nil, err
		}
	}
	return w.store(ctx, a, target)
}

// openStore opens a store by its name, s3://BUCKET/PREFIX or a directory. A nil
// journal allows reads only.
func (w *workspace) openStore(ctx context.Context, name string, j incident.Appender, caseID string) (evidence.Store, error) {
	rest, isS3 := strings.CutPrefix(name, "s3://")
	if !isS3 {
		dir := strings.TrimPrefix(name, "file://")
		if strings.Contains(dir, "://") {
			return nil, usagef("evidence store %q: want s3://BUCKET/PREFIX, or a directory", name)
		}
		return vault.NewDirectory(dir), nil
	}
	bucket, prefix, _ := strings.Cut(rest, "/")
	if bucket == "" {
		return nil, usagef("%q names no bucket: want s3://BUCKET/PREFIX", name)
	}
	base, err := w.base(ctx, "")
	if err != nil {
		return nil, err
	}
	o := vault.S3Options{Bucket: bucket, Prefix: strings.Trim(prefix, "/"), Region: base.Region}
	if e := w.config.Evidence; e.Bucket == bucket {
		o = w.s3Options()
		o.Prefix = strings.Trim(prefix, "/")
		o.Region = orElse(o.Region, base.Region)
	}
	cfg, err := w.access(j, caseID).Config(ctx, incident.Target{Region: o.Region})
	if err != nil {
		return nil, err
	}
	return vault.NewS3(cfg, o, w.clock), nil
}

// casesToVerify are those asked for, or all that the store holds.
func casesToVerify(ctx context.Context, s evidence.Store, caseID string, r *record) ([]incident.Case, error) {
	if r != nil {
		return []incident.Case{r.state.Case}, nil
	}
	all, err := evidence.Cases(ctx, s)
	if err != nil {
		return nil, err
	}
	var cases []incident.Case
	for _, c := range all {
		if caseID == "" || c.ID == caseID {
			cases = append(cases, c)
		}
	}
	if len(cases) == 0 {
		return nil, incident.WithHint(usagef("%s holds no evidence of %s", s, orElse(caseID, "any case")), "look at its prefix: cordon keeps a case under cases/ID/, a rehearsal's under rehearsal/ID/")
	}
	return cases, nil
}

// journalVerification records the result with each item. A case that another
// process holds is verified all the same; the result is then only printed.
func (w *workspace) journalVerification(ctx context.Context, caseID string, v verifyReport) bool {
	j, err := w.hold(ctx, caseID)
	if err != nil {
		fmt.Fprintf(w.g.err, "warning: the result is not journaled: %v\n", err)
		return false
	}
	r, err := fold(j)
	for _, it := range v.Cases[0].Items {
		if err != nil {
			break
		}
		if _, known := r.custody.Item(it.ID); !known || it.State == evidence.StateElsewhere {
			continue
		}
		detail := fmt.Sprintf("%s: %d object(s), %d bytes re-read from %s", it.State, it.Objects, it.Bytes, v.Store)
		if it.Key == "" {
			detail = fmt.Sprintf("%s: AWS shows it as %s", it.State, orElse(it.Shown, "gone"))
		}
		for _, f := range it.Findings {
			detail += fmt.Sprintf("; %s: %s", f.Problem, f.Detail)
		}
		event := evidence.CustodyEvent{Item: it.ID, Event: evidence.EventVerified, Detail: detail}
		_, err = j.Append(ctx, incident.Draft{Type: incident.EntryCustody, Data: event})
	}
	if err = errors.Join(err, j.Close()); err != nil {
		fmt.Fprintf(w.g.err, "warning: the result is not journaled: %v\n", err)
	}
	return err == nil
}

func (g *globals) printVerification(v verifyReport) error {
	if g.output == "json" {
		if err := g.printJSON(v); err != nil {
			return err
		}
	} else {
		for _, c := range v.Cases {
			g.printCase(g.out, v.Store, c)
		}
	}
	if v.Verified {
		return nil
	}
	return &outcomeError{exitVerify, "the evidence is not what it should be",
		"leave it as it is, and look at the objects' versions and who could write them (CloudTrail)"}
}

// printCase writes what was found of a case, for people.
func (g *globals) printCase(out io.Writer, store string, c evidence.CaseReport) {
	fmt.Fprintf(out, "%scase %s in %s, %s\n", banner(c.Rehearsal), c.Case, store, comparedWith(c))
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "ITEM\tKIND\tSTATE\tOBJECTS\tRE-READ\tKEPT UNTIL\tHOLD")
	objects, read, unasked := 0, int64(0), 0
	for _, it := range c.Items {
		kept, hold := "-", "-"
		switch {
		case it.State != evidence.StateElsewhere:
			kept = retention(evidence.Item{Mode: it.Mode, RetainUntil: it.RetainUntil})
			hold = onOff(it.LegalHold)
		case it.Key == "": // not one that this copy of the store does without
			unasked++
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", it.ID, it.Kind, it.State, it.Objects, amount(it.Bytes, "bytes"), kept, hold)
		objects, read = objects+it.Objects, read+it.Bytes
	}
	_ = t.Flush()
	for _, it := range c.Items {
		if it.Shown != "" {
			fmt.Fprintf(out, "AWS shows %s: %s\n", it.ID, it.Shown)
		}
		printFindings(out, it.ID, it.Findings)
	}
	printFindings(out, "", c.Findings)
	word := "verified"
	if !c.Verified {
		word = "NOT what it should be"
	}
	fmt.Fprintf(out, "%s: %d item(s), %d object(s), %s re-read, %d signed checkpoint(s)\n", word, len(c.Items)-unasked, objects, amount(read, "bytes"), c.Checkpoints)
	if unasked > 0 {
		fmt.Fprintf(out, "not checked: %d item(s) that AWS keeps and was not asked about\n", unasked)
	}
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "-"
}

func comparedWith(c evidence.CaseReport) string {
	with := "from the store alone"
	if c.Journal {
		with = "compared with the journal"
	}
	if c.Manifest == "" {
		return with + ", without a signed manifest"
	}
	if c.KeyFrom == "store" {
		return with + ", manifest " + c.Manifest + " signed by the key that the store itself names: " + c.PublicKey
	}
	return with + ", manifest " + c.Manifest + " signed by " + c.PublicKey
}

func printFindings(out io.Writer, item string, all evidence.Findings) {
	for _, f := range all {
		word := "PROBLEM"
		if f.Warning {
			word = "note"
		}
		about := orElse(item, f.Key)
		if item != "" && f.Key != "" {
			about += " (" + f.Key + ")"
		}
		fmt.Fprintf(out, "%s %s: %s: %s\n", word, f.Problem, about, f.Detail)
	}
}
