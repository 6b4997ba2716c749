package access

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/cordon-ir/cordon/internal/incident"
)

// silence is how long a connection may be without a byte in the direction that is waited for.
// It is longer than the SDK keeps an idle connection (90 s), and than S3 is silent while
// it makes an object of many parts: it sends spaces meanwhile (API reference, CompleteMultipartUpload).
const silence = 2 * time.Minute

// httpClient is the SDK's, with connections that end when nothing moves on them: a
// network that has died without a word is an error, which is tried again, and
// never a run that hangs.
func httpClient(clock incident.Clock, limit time.Duration) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.DialContext = impatient(t.DialContext, clock, limit)
	})
}

// dialing is how a transport gets its connections.
type dialing = func(ctx context.Context, network, address string) (net.Conn, error)

func impatient(dial dialing, clock incident.Clock, limit time.Duration) dialing {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &impatientConn{Conn: c, clock: clock, limit: limit}, nil
	}
}

// impatientConn gives each read and each write a time of its own.
type impatientConn struct {
	net.Conn
	clock incident.Clock
	limit time.Duration
}

// Read fails where nothing comes for the limit.
func (c *impatientConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(c.clock.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	return n, c.explain(err, "came from")
}

// Write fails where nothing is taken for the limit.
func (c *impatientConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(c.clock.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	return n, c.explain(err, "was taken by")
}

func (c *impatientConn) explain(err error, what string) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return fmt.Errorf("nothing %s %s for %s: %w", what, c.RemoteAddr(), c.limit, err)
}
