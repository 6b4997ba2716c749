// Package versitygw holds the evidence store against an S3 that others wrote
// and that enforces Object Lock: versitygw, with files behind it. It is a
// module of its own, so that the gateway's modules stay out of cordon's.
package versitygw

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"

	"github.com/cordon-ir/cordon/internal/access"
	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/journal"
	"github.com/cordon-ir/cordon/internal/vault"
)

const (
	region = "eu-central-1"
	caseID = "INC-1"
)

// Who calls. The gateway knows both by these names and pass phrases.
const (
	root      = "account-root" // may do everything, bypassing governance included, as an account's root user may
	responder = "responder"    // may do what the bucket's policy lets it: everything but bypassing governance
	phrase    = "known-to-the-gateway-of-this-test-only"
)

// endpoint of the gateway. There is one for the whole process: versitygw
// allows no second one, and changes the working directory.
var endpoint string

func TestMain(m *testing.M) {
	code, err := withGateway(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "versitygw:", err)
		code = 1
	}
	os.Exit(code)
}

// withGateway runs the gateway for as long as tests takes.
func withGateway(tests func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "cordon-versitygw-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := environment(dir); err != nil {
		return 1, err
	}
	backend, err := files(dir)
	if err != nil {
		return 1, err
	}
	users, err := accounts(dir)
	if err != nil {
		return 1, err
	}
	address, err := freeAddress()
	if err != nil {
		return 1, err
	}
	endpoint = "http://" + address
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- embedgw.RunVersityGW(ctx, backend, &embedgw.Config{
			RootUserAccess: root, RootUserSecret: phrase, Region: region, IAMService: users,
			Ports: []string{address}, MaxConnections: 256, MaxRequests: 256, MultipartMaxParts: 10_000,
			Quiet: true,
		})
	}()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	err = incident.Poll(ctx, clock.Wall{}, 20*time.Millisecond, 5*time.Minute, "the gateway", func(context.Context) (bool, error) {
		select {
		case err := <-ended:
			ended <- nil
			return false, fmt.Errorf("it ended: %w", err)
		default:
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	})
	if err != nil {
		return 1, err
	}
	return tests(), nil
}

// environment keeps whatever the machine has configured for AWS out of the tests.
func environment(dir string) error {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": responder, "AWS_SECRET_ACCESS_KEY": phrase, "AWS_SESSION_TOKEN": "",
		"AWS_PROFILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_CA_BUNDLE": "",
		"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE":             filepath.Join(dir, "no-config"),
		"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "no-credentials"),
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// files is the gateway's back end. What a file system's extended attributes
// would hold, which not every one has, lies in files beside the objects.
func files(dir string) (*posix.Posix, error) {
	for _, d := range []string{"buckets", "versions", "attributes"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	beside, err := meta.NewSideCar(filepath.Join(dir, "attributes"))
	if err != nil {
		return nil, err
	}
	return posix.New(filepath.Join(dir, "buckets"), beside, posix.PosixOpts{
		VersioningDir: filepath.Join(dir, "versions"), SideCarDir: filepath.Join(dir, "attributes"), Concurrency: 64,
	})
}

func accounts(dir string) (auth.IAMService, error) {
	users := filepath.Join(dir, "users")
	if err := os.Mkdir(users, 0o700); err != nil {
		return nil, err
	}
	s, err := auth.NewInternal(auth.Account{Access: root, Secret: phrase, Role: auth.RoleAdmin}, users)
	if err != nil {
		return nil, err
	}
	return s, s.CreateAccount(auth.Account{Access: responder, Secret: phrase, Role: auth.RoleUser})
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// product is the configuration that cordon itself works with: loaded as always, and behind
// the access layer, which journals every change before it is sent.
func product(t *testing.T) aws.Config {
	t.Helper()
	key, err := journal.LoadKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), caseID)
	j, err := journal.Create(t.Context(), dir, incident.Case{ID: caseID, PublicKey: key.PublicKey(caseID)}, key, clock.Wall{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		if _, err := journal.Verify(context.Background(), dir); err != nil {
			t.Errorf("the journal of what was sent: %v", err)
		}
	})
	a := access.New(access.Options{
		Base:    access.Load(access.LoadOptions{EndpointURL: endpoint}),
		Journal: j, Case: caseID, Version: "test", Clock: clock.Wall{},
	})
	cfg, err := a.Config(t.Context(), incident.Target{Region: region})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// client is the SDK's, with nothing of ours in it.
func client(t *testing.T, who string) *s3.Client {
	t.Helper()
	return s3.New(s3.Options{
		Region: region, BaseEndpoint: &endpoint, UsePathStyle: true,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		APIOptions:                 []func(*middleware.Stack) error{access.PlainBodies},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: who, SecretAccessKey: phrase}, nil
		}),
	})
}

var buckets atomic.Int64

// bucket makes an empty one that the responder may use.
func bucket(t *testing.T, lock bool) string {
	t.Helper()
	name := "evidence-" + strconv.FormatInt(buckets.Add(1), 10)
	create(t, client(t, root), name, lock)
	policy(t, name)
	return name
}

func create(t *testing.T, c *s3.Client, name string, lock bool) {
	t.Helper()
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: &name, ObjectLockEnabledForBucket: &lock,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: region},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// policy of the bucket for the responder: everything is allowed but
// bypassing governance, which the caller of the API would have to be allowed.
func policy(t *testing.T, bucket string) {
	t.Helper()
	type statement struct{ Effect, Principal, Action, Resource any }
	both := []string{"arn:aws:s3:::" + bucket, "arn:aws:s3:::" + bucket + "/*"}
	document, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []statement{
		{"Allow", []string{responder}, "s3:*", both},
		{"Deny", []string{responder}, "s3:BypassGovernanceRetention", both[1]},
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client(t, root).PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: aws.String(string(document))})
	if err != nil {
		t.Fatal(err)
	}
}

func options(bucket, mode string) vault.S3Options {
	return vault.S3Options{Bucket: bucket, Prefix: "team/", Region: region, Mode: mode, Days: 30}
}
