package isolate

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTheDenyNamesTheInstancesTheirSessionsAndTheTime(t *testing.T) {
	at := time.Date(2026, 11, 23, 13, 0, 0, 5, time.FixedZone("", 3600))
	two := revocation{}.with("i-2").with("i-1").with("i-2")
	tests := []struct {
		name string
		r    revocation
		room int
		want []string // conditions
	}{
		{"two instances", two, roleLimit, []string{
			`{"ArnLike":{"ec2:SourceInstanceARN":["arn:*:ec2:*:*:instance/i-1","arn:*:ec2:*:*:instance/i-2"]}}`,
			`{"StringLike":{"aws:userid":["*:i-1","*:i-2"]}}`,
		}},
		{"two instances, little room", two, 200, []string{`{"StringLike":{"aws:userid":["*:i-1","*:i-2"]}}`}},
		{"the whole role", revocation{}.since(wholeSecond(at)), roleLimit, []string{`{"DateLessThan":{"aws:TokenIssueTime":["2026-11-23T12:00:01Z"]}}`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.r.document(tt.room)
			var doc struct {
				Version   string
				Statement []struct {
					Effect, Action, Resource string
					Condition                json.RawMessage
				}
			}
			if err := json.Unmarshal([]byte(text), &doc); err != nil {
				t.Fatal(err)
			}
			if len(doc.Statement) != len(tt.want) {
				t.Fatalf("%d statements in %s", len(doc.Statement), text)
			}
			for i, s := range doc.Statement {
				if s.Effect != "Deny" || s.Action != "*" || s.Resource != "*" || string(s.Condition) != tt.want[i] {
					t.Errorf("statement %d is %+v, condition %s; want %s", i, s, s.Condition, tt.want[i])
				}
			}
		})
	}
}

func TestARevocationIsReadBackAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r revocation
		for _, n := range rapid.SliceOfN(rapid.Uint64(), 0, 150).Draw(t, "instances") {
			r = r.with(fmt.Sprintf("i-0%016x", n))
		}
		if rapid.Bool().Draw(t, "by time") {
			r = r.since(wholeSecond(time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "time"), 0)))
		}
		if r.empty() {
			return
		}
		text := r.document(rapid.IntRange(0, roleLimit).Draw(t, "room"))
		got, err := parseRevocation(&text)
		if err != nil || !slices.Equal(got.Instances, r.Instances) || !got.Before.Equal(r.Before) {
			t.Fatalf("%+v became %+v, %v", r, got, err)
		}
		if len(r.Instances) > 0 && counted(r.encode(false)) != smallest(len(r.Instances)) && r.Before.IsZero() {
			t.Fatalf("%d instances take %d characters, not %d", len(r.Instances), counted(r.encode(false)), smallest(len(r.Instances)))
		}
	})
}

func TestWhatSomeoneAddedToThePolicyIsSeen(t *testing.T) {
	ours := revocation{}.with("i-1").document(roleLimit)
	for _, text := range []string{
		"", "null", "{", `{"Version":"2012-10-17","Statement":[]}`, ours + " ",
		`{"Version":"2012-10-17","Statement":[{"Sid":"x","Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLike":{"aws:userid":["*:i-1"]}}}]}`,
	} {
		if r, err := parseRevocation(&text); err == nil {
			t.Errorf("%q was read as %+v", text, r)
		}
	}
}

func TestTheTimeNeverMovesBack(t *testing.T) {
	early, late := time.Unix(1000, 0), time.Unix(2000, 0)
	if got := (revocation{}).since(late).since(early).Before; !got.Equal(late) {
		t.Errorf("%s", got)
	}
}

func FuzzParseRevocation(f *testing.F) {
	f.Add(revocation{}.with("i-1").document(roleLimit))
	f.Add(revocation{}.since(time.Unix(1000, 0)).document(roleLimit))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRevocation(&text)
		if err == nil && r.encode(true) != text && r.encode(false) != text {
			t.Errorf("%q was taken for %+v", text, r)
		}
	})
}
