package access

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cordon-ir/cordon/internal/clock"
)

// A server that takes the request, or also gives the beginning of an answer, and then
// falls silent. The time is a bubble's.
func TestAConnectionOnWhichNothingMovesIsAnError(t *testing.T) {
	for name, answer := range map[string]string{
		"before the answer": "",
		"within the answer": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				pipe := func(context.Context, string, string) (net.Conn, error) { return here, nil }
				go func() {
					if _, err := http.ReadRequest(bufio.NewReader(there)); err != nil {
						t.Error(err)
					}
					_, _ = io.WriteString(there, answer)
					_, _ = io.Copy(io.Discard, there) // until the other side gives up
				}()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://example.org", nil)
				if err != nil {
					t.Fatal(err)
				}
				transport := &http.Transport{DialContext: impatient(pipe, clock.Wall{}, silence)}
				resp, err := transport.RoundTrip(req)
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
				}
				if err == nil || !strings.Contains(err.Error(), "nothing came from pipe for 2m0s") {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestAServerThatTakesNothingIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, _ := net.Pipe()
		_, err := (&impatientConn{Conn: here, clock: clock.Wall{}, limit: silence}).Write([]byte("x"))
		if err == nil || !strings.Contains(err.Error(), "nothing was taken by pipe for 2m0s") {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheSDKsConnectionsAreNotWaitedForForEver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := httpClient(clock.Wall{}, silence).GetTransport().DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, ok := c.(*impatientConn); !ok {
		t.Errorf("the connection is a %T", c)
	}
}
