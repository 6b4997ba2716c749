package journal

import (
	"time"

	"github.com/cordon-ir/cordon/internal/incident"
)

// evenClock is a clock that can be set, and knows how much time has passed all the same. A
// rehearsal's can't be set.
type evenClock interface{ Elapsed() time.Duration }

// reading is what the clock showed, and the time that had passed by then.
type reading struct {
	shown   time.Time
	elapsed time.Duration
}

// setTolerance is how far the clock may be from where it would be had it run on. Time services slew it by less,
// which moves CLOCK_MONOTONIC alike (adjtime(3)), and a leap second is one.
const setTolerance = 2 * time.Second

// readClock returns the time, and by how much the clock was set since the journal was opened or this was last said. Held: mu.
func (j *Journal) readClock() (shown time.Time, set time.Duration) {
	c, ok := j.clock.(evenClock)
	if !ok {
		return j.clock.Now().UTC(), 0
	}
	before := c.Elapsed()
	now := reading{j.clock.Now().UTC().Round(0), c.Elapsed()}
	if now.elapsed-before > setTolerance/2 {
		return now.shown, 0 // this process was stopped in between: the next reading tells
	}
	if j.clockRead == (reading{}) {
		j.clockRead = now
	}
	set = now.shown.Sub(j.clockRead.shown) - (now.elapsed - j.clockRead.elapsed)
	if set.Abs() < setTolerance {
		return now.shown, 0
	}
	j.clockRead = now
	return now.shown, set.Round(time.Millisecond)
}

// sayClockSet appends the entry without which the times around it can't be compared. Held: mu.
func (j *Journal) sayClockSet(now time.Time, by time.Duration) error {
	data, err := marshalData(incident.ClockSet{By: by.Seconds()})
	if err != nil {
		return err
	}
	_, err = j.commit(incident.Entry{Time: now, Type: incident.EntryClockSet, Actor: j.self, Data: data})
	return err
}
