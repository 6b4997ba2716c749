package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cordon-ir/cordon/internal/access"
	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/evidence/storetest"
	"github.com/cordon-ir/cordon/internal/incident"
	simulated "github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/internal/vault"
)

// ledger takes entries and writes them as a journal is exported.
type ledger struct {
	mu    sync.Mutex
	next  uint64
	lines bytes.Buffer
}

func (l *ledger) Append(_ context.Context, d incident.Draft) (incident.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	data, err := json.Marshal(d.Data)
	if err != nil {
		return incident.Entry{}, err
	}
	e := incident.Entry{Seq: l.next, Type: d.Type, Data: data}
	line, err := json.Marshal(e)
	if err != nil {
		return incident.Entry{}, err
	}
	l.next++
	fmt.Fprintf(&l.lines, "%s\n", line)
	return e, nil
}

// The evidence store's own suite sends what no rehearsal does: uploads in
// parts, aborted ones, lists, versions.
func TestEveryRequestOfTheEvidenceStoreIsWellFormed(t *testing.T) {
	var all ledger
	for _, locked := range []bool{true, false} {
		t.Run(fmt.Sprintf("locked %t", locked), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) evidence.Store { return recordedStore(t, &all, locked) })
		})
	}
	s := recordedStore(t, &all, true)
	obj, err := s.Put(t.Context(), "held", strings.NewReader("x"), evidence.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, on := range []bool{true, false} {
		if _, err := s.(evidence.Holder).Hold(t.Context(), obj.Key, obj.Version, on); err != nil {
			t.Fatal(err)
		}
	}
	n := checkJournal(t, all.lines.Bytes())
	n.covers(t, called(t, "internal/vault"))
	t.Logf("%s%s", n, n.list())
}

// recordedStore is a store in a new simulated account; what it sends goes into the ledger.
func recordedStore(t *testing.T, l *ledger, locked bool) evidence.Store {
	t.Helper()
	account, err := simulated.Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	alert := account.Alert()
	_, err = s3.NewFromConfig(account.Config(alert.Region)).CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: aws.String("evidence"), ObjectLockEnabledForBucket: aws.Bool(locked),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(alert.Region)},
	})
	if err != nil {
		t.Fatal(err)
	}
	a := access.New(access.Options{
		Base:    func(_ context.Context, region string) (aws.Config, error) { return account.Config(region), nil },
		Journal: l, Case: "INC-1", Version: "test", Clock: account.Clock(), Verbose: true, Rehearsal: true,
	})
	cfg, err := a.Config(t.Context(), incident.Target{Account: alert.Account, Region: alert.Region})
	if err != nil {
		t.Fatal(err)
	}
	o := vault.S3Options{Bucket: "evidence", Prefix: "team", Region: alert.Region, Mode: "GOVERNANCE", Days: 30, LegalHold: locked}
	return vault.NewS3(cfg, o, account.Clock())
}
