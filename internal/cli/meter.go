package cli

import (
	"fmt"
	"sync"
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

// meter shows the progress of bytes on standard error: every tenth, how fast,
// and how long still.
type meter struct {
	g     *globals
	clock incident.Clock
	what  string

	mu    sync.Mutex
	start time.Time
	tenth int64
}

func newMeter(g *globals, clock incident.Clock, what string) *meter {
	return &meter{g: g, clock: clock, what: what, start: clock.Now()}
}

// show may be called from several goroutines.
func (m *meter) show(done, total int64) {
	const worthShowing = 64 << 20
	if m.g.quiet || m.g.output == "json" || total < worthShowing {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	tenth := done * 10 / total
	if tenth <= m.tenth {
		return
	}
	m.tenth = tenth
	line := fmt.Sprintf("%s: %s of %s", m.what, amount(done, "bytes"), amount(total, "bytes"))
	fmt.Fprintln(m.g.err, line+pace(done, m.clock.Now().Sub(m.start), total-done))
}

// pace is how fast bytes move and how long those that are left will take; empty
// where too little has been seen, or nothing is left.
func pace(moved int64, took time.Duration, left int64) string {
	if took < time.Second || moved <= 0 || left <= 0 {
		return ""
	}
	still := time.Duration(float64(took) / float64(moved) * float64(left))
	return fmt.Sprintf(", %.1f MB/s, about %s left", float64(moved)/took.Seconds()/1e6, still.Round(time.Second))
}
