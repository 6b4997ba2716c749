package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/cordon-ir/cordon/internal/incident"
)

// output is standard output. It remembers what could not be written: a program
// that reads half of what was found must not take it for all.
type output struct {
	mu   sync.Mutex
	to   io.Writer
	lost error
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.to.Write(p)
	if o.lost == nil {
		o.lost = err
	}
	return n, err
}

// whole joins err with what could not be written, unless that is what err is
// about, or the reader has gone away: outliveReader.
func (o *output) whole(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lost == nil || errors.Is(o.lost, syscall.EPIPE) {
		return err
	}
	if !errors.Is(err, o.lost) {
		err = errors.Join(err, fmt.Errorf("what was printed is not whole: %w", o.lost))
	}
	return incident.WithHint(err, "make room, or print elsewhere; what was done is in the journal")
}

// file is the file behind standard output, where there is one.
func (o *output) file() (*os.File, bool) {
	f, ok := o.to.(*os.File)
	return f, ok
}
