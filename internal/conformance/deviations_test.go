package conformance

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// deviation is an operation that moto lacks or does otherwise than AWS
// documents. The product is never bent to please moto: a row says what in this
// suite gives way instead, and its probe proves that the row is still needed.
type deviation struct {
	operation string
	moto      string // what moto does
	aws       string // what AWS documents
	page      string // where
	explains  string // what in this suite it is the reason for
	// set is the playbook input that keeps a run away from the operation.
	set string
	// fails are the steps that fail for it, where no input keeps them away.
	fails []failure
	// opens are the ways out that the proof finds in a clean room for it.
	opens []opening
	// deviates calls moto and reports whether it still does as the row says.
	deviates func(l *lab) bool
}

// failure is a step's, in runs of a playbook without the input unless.
type failure struct {
	playbook, step, says, unless string
	unproven                     bool // all of it is done, but what it has done is not what it should be
}

// opening is what the proof says of so many ways out.
type opening struct {
	says string
	ways int
}

var deviations = slices.Concat(missingOperations, computeDeviations, storageDeviations)

// settings are the inputs, of those named, that moto's deviations ask for.
func settings(inputs ...string) []string {
	var sets []string
	for _, d := range deviations {
		name, _, _ := strings.Cut(d.set, "=")
		if d.set != "" && slices.Contains(inputs, name) && !slices.Contains(sets, d.set) {
			sets = append(sets, d.set)
		}
	}
	return sets
}

// explainedFailures are the steps that must fail in moto, and how.
func explainedFailures(playbook string, sets []string) map[string]failure {
	steps := make(map[string]failure)
	for _, d := range deviations {
		for _, f := range d.fails {
			if f.playbook == playbook && !slices.Contains(sets, f.unless) {
				steps[f.step] = f
			}
		}
	}
	return steps
}

// lab is the web tier in moto, for probing.
type lab struct {
	t   *testing.T
	cfg aws.Config
	ec2 *ec2.Client
	w   webTier
}

func (l *lab) ctx() context.Context { return l.t.Context() }

// must ends the probe where a call fails that is not the one it is about.
func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("the probe itself: %v", err)
	}
}

// lacks: moto answers an operation that it does not have with a 500.
func lacks(err error) bool {
	var answer *awshttp.ResponseError
	return errors.As(err, &answer) && answer.HTTPStatusCode() == 500
}

// A row whose operation has begun to behave as AWS documents must go, and what it explains with it.
func TestMotoStillDeviates(t *testing.T) {
	l := &lab{cfg: motoConfig(t, startMoto(t))}
	l.w, l.ec2 = buildWebTier(t, l.cfg), ec2.NewFromConfig(l.cfg)
	for _, d := range deviations {
		t.Run(d.operation+"/"+strings.ReplaceAll(d.moto, " ", "_"), func(t *testing.T) {
			l.t = t
			if !d.deviates(l) {
				t.Errorf("moto now does as AWS documents (%s): remove the row and what it explains: %s", d.aws, d.explains)
			}
		})
	}
}

func TestEveryDeviationIsDocumented(t *testing.T) {
	for _, d := range deviations {
		if d.operation == "" || d.moto == "" || d.aws == "" || d.explains == "" || !strings.HasPrefix(d.page, "https://docs.aws.amazon.com/") {
			t.Errorf("the row of %s (%s) is not complete", d.operation, d.moto)
		}
	}
}
