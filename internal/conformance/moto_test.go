package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/access"
	"github.com/cordon-ir/cordon/internal/clock"
	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	motoRegion  = "eu-central-1"
	motoAccount = "123456789012" // moto's default account
)

// Whoever asks moto is somebody; it checks no signature unless told to.
var motoKey, motoSecret = rand.Text()[:20], rand.Text()

// moto is the one server of the whole suite: starting it takes seconds, a reset does not.
var moto struct {
	process  *exec.Cmd
	ended    chan struct{} // closed when the process has ended
	endpoint string
}

// startMoto gives the test an empty account. Tests that use it don't run in
// parallel: the next one's start is a reset.
func startMoto(t testing.TB) (endpoint string) {
	t.Helper()
	if moto.process == nil {
		if err := launchMoto(); err != nil {
			t.Fatal(err)
		}
	}
	if err := askMoto(t.Context(), http.MethodPost, moto.endpoint+"/moto-api/reset"); err != nil {
		t.Fatal(err)
	}
	return moto.endpoint
}

// launchMoto starts it on a port that is free now. Where another process is quicker to take that port, moto
// ends, and is started on another.
func launchMoto() error {
	var problems []error
	for range 5 {
		err := tryMoto()
		if err == nil {
			return nil
		}
		stopMoto()
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func tryMoto() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err = errors.Join(err, listener.Close()); err != nil {
		return err
	}
	cmd := exec.Command(tool("moto_server"), "-H", "127.0.0.1", "-p", port)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting moto: %w", err)
	}
	ended := make(chan struct{})
	moto.process, moto.ended, moto.endpoint = cmd, ended, "http://127.0.0.1:"+port
	go func() {
		_ = cmd.Wait() // it is killed in the end
		close(ended)
	}()
	// It serves soon, or it ends: the limit only keeps a moto that does neither from holding the tests up for ever.
	return incident.Poll(context.Background(), clock.Wall{}, 100*time.Millisecond, 8*time.Minute, "moto on port "+port,
		func(ctx context.Context) (bool, error) {
			select {
			case <-ended:
				return false, fmt.Errorf("moto has ended: %s", said.String())
			default:
				return askMoto(ctx, http.MethodGet, moto.endpoint+"/moto-api/data.json") == nil, nil
			}
		})
}

// stopMoto is called once, after the last test.
func stopMoto() {
	if moto.process == nil {
		return
	}
	_ = moto.process.Process.Kill() // it may have ended by itself
	<-moto.ended
	moto.process = nil
}

func askMoto(ctx context.Context, method, url string) error {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	return nil
}

// motoConfig is the SDK over the wire to moto. It does not retry: what moto
// lacks, it answers with a 500.
func motoConfig(t testing.TB, endpoint string) aws.Config {
	t.Helper()
	return aws.Config{
		Region:       motoRegion,
		BaseEndpoint: aws.String(endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider(motoKey, motoSecret, ""),
		Retryer:      func() aws.Retryer { return aws.NopRetryer{} },
		APIOptions:   []func(*middleware.Stack) error{access.PlainBodies}, // as the product's
	}
}
