package access

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cordon-ir/cordon/internal/clock"
)

// A server that takes the request, or also gives the beginning of an answer, and then
// falls silent.
func TestAConnectionOnWhichNothingMovesIsAnError(t *testing.T) {
	for name, answer := range map[string]string{
		"before the answer": "",
		"within the answer": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				return // an answer before the request would be none to it
			}
			_, _ = io.WriteString(c, answer)
			_, _ = io.Copy(io.Discard, c) // until the other side gives up
		}()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := httpClient(clock.Wall{}, 50*time.Millisecond).Do(req)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "nothing came from "+l.Addr().String()+" for 50ms") {
			t.Errorf("%s: got %v", name, err)
		}
		_ = l.Close()
		<-served
	}
}
