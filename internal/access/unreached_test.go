package access

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/cordon-ir/cordon/internal/incident"
)

// broken is a network whose first attempts at DeleteSecurityGroup and DescribeInstances fail.
type broken struct {
	f    *front
	left int // how often still
}

func (b *broken) Do(r *http.Request) (*http.Response, error) {
	if b.f.count("GetCallerIdentity") > 0 && b.left > 0 { // once the credentials are known
		b.left--
		return nil, &url.Error{Op: "Post", URL: r.URL.String(), Err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}}
	}
	return http.DefaultClient.Do(r)
}

func TestWhatAWSDoesNotAnswerIsToldAtEachAttemptAndOnceMoreWhenItIsOver(t *testing.T) {
	everyTry := []string{"1", "2", "3", "4", "5", "6", "6 over"}
	for name, tc := range map[string]struct {
		refused int // connections
		status  int // of so many answers after that
		answers int
		body    string
		told    []string
		hint    string // of the error; empty: it succeeds
	}{
		"refused twice":          {refused: 2, told: []string{"1", "2", "2 over"}},
		"refused for good":       {refused: 100, told: everyTry, hint: "can't be reached"},
		"unavailable once":       {status: 503, answers: 1, body: ec2Error("Unavailable", "busy"), told: []string{"1", "1 over"}},
		"unavailable for good":   {status: 503, answers: 100, body: ec2Error("Unavailable", "busy"), told: everyTry, hint: "a fault of its own"},
		"a proxy without a word": {status: 502, answers: 100, body: "<html>", told: everyTry, hint: "a fault of its own"},
		"throttled":              {status: 503, answers: 2, body: throttled},
		"denied":                 {status: 403, answers: 100, body: ec2Error("UnauthorizedOperation", "no"), hint: "permission"},
	} {
		for _, call := range []struct {
			name string
			do   func(context.Context, aws.Config) error
		}{
			{"ec2:DeleteSecurityGroup in eu-central-1", protect},
			{"ec2:DescribeInstances in eu-central-1", func(ctx context.Context, cfg aws.Config) error {
				_, err := ec2.NewFromConfig(cfg).DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
				return err
			}},
		} {
			t.Run(name+" "+call.name, func(t *testing.T) {
				f := newFront(t)
				f.answer = func(action string, n int, _ url.Values) (int, string) {
					if action != "GetCallerIdentity" && n <= tc.answers {
						return tc.status, tc.body
					}
					return http.StatusOK, ""
				}
				a, _ := newAccess(t, f, func(o *Options) {
					base := o.Base
					o.Base = func(ctx context.Context, region string) (aws.Config, error) {
						cfg, err := base(ctx, region)
						cfg.HTTPClient = &broken{f, tc.refused}
						return cfg, err
					}
				})
				cfg := configFor(t, a)
				var told []string
				a.Watch(func(p incident.Progress) {
					u := p.Unreached
					text := fmt.Sprint(u.Attempts)
					if u.Over {
						text += " over"
					}
					told = append(told, text)
					if p.What != call.name || p.Step != "network" || u.Since.Before(start) || u.Error == "" {
						t.Errorf("told %+v, %+v", p, u)
					}
				})
				err := Explain(call.do(incident.WithStep(t.Context(), incident.StepRef{Run: "r1", Step: "network"}), cfg))
				if !slices.Equal(told, tc.told) {
					t.Errorf("told %v, want %v", told, tc.told)
				}
				var hint *incident.HintError
				if errors.As(err, &hint); (err == nil) != (tc.hint == "") || hint != nil && !strings.Contains(hint.Hint, tc.hint) {
					t.Errorf("%v, %+v", err, hint)
				}
			})
		}
	}
}
