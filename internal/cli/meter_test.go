package cli

import (
	"testing"
	"time"
)

func TestThePaceOfLongWork(t *testing.T) {
	for _, c := range []struct {
		moved int64
		took  time.Duration
		left  int64
		want  string
	}{
		{100e6, 2 * time.Second, 500e6, ", 50.0 MB/s, about 10s left"},
		{100e6, 2 * time.Second, 0, ""},
		{0, time.Minute, 500e6, ""},
		{100e6, time.Millisecond, 500e6, ""},
	} {
		if got := pace(c.moved, c.took, c.left); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}
