package access

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/incident"
)

// slowSender is a client that has sent a body whole, and whose answer has come, before it
// looks whether there is more in the body: as net/http can.
type slowSender struct {
	sent  []string
	after []error // what looking said
}

var errUnanswered = errors.New("nothing answers here")

func (s *slowSender) Do(r *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.sent = append(s.sent, string(b))
	if err := r.Body.Close(); err != nil { // the SDK's, once the answer has begun
		return nil, err
	}
	_, err = io.Copy(io.Discard, r.Body)
	s.after = append(s.after, err)
	return nil, errUnanswered
}

func TestABodyThatTheSDKHasClosedDoesNotEndTheConnection(t *testing.T) {
	sender := new(slowSender)
	a := New(Options{Clock: clock.Wall{}, Journal: new(ledger), Case: "INC-1", Base: func(context.Context, string) (aws.Config, error) {
		return aws.Config{
			Region: "eu-central-1", HTTPClient: sender, Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
		}, nil
	}})
	cfg, err := a.Config(t.Context(), incident.Target{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	_, err = ec2.NewFromConfig(cfg).CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String("closed"), Description: aws.String("x")})
	if !errors.Is(err, errUnanswered) {
		t.Fatal(err)
	}
	_, err = s3.NewFromConfig(cfg).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("b"), Key: aws.String("k"), Body: strings.NewReader("some bytes")})
	if !errors.Is(err, errUnanswered) {
		t.Fatal(err)
	}
	if len(sender.sent) != 2 || !strings.Contains(sender.sent[0], "GroupName=closed") || !strings.Contains(sender.sent[1], "some bytes") {
		t.Errorf("sent: %q", sender.sent)
	}
	for i, err := range sender.after {
		if err != nil {
			t.Errorf("looking for more of body %d: %v", i, err)
		}
	}
}
