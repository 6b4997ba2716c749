package playbooks

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/problem"
)

// FuzzParse: no input panics; what is refused is refused with problems; what is
// accepted gives the same playbook again, and expressions that evaluate without
// panic; and no other text has its digest.
func FuzzParse(f *testing.F) {
	for _, name := range Shipped() {
		src, err := Source(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte(head + "steps:\n- id: a\n  action: cleanroom.launch\n  with: {snapshots: ['${{ \"}}\" }} x'], instance_type: 'a${{ case.id }}'}\n  when: ${{ target.region in ['a'] }}\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		pb, err := Parse("f.yaml", src, testSpecs)
		if err != nil {
			var problems *problem.Error
			if !errors.As(err, &problems) || len(problems.List) == 0 {
				t.Fatalf("refused without problems: %v", err)
			}
			return
		}
		again, err := Parse("f.yaml", src, testSpecs)
		if err != nil {
			t.Fatalf("accepted once, then: %v", err)
		}
		if a, b := asJSON(t, pb), asJSON(t, again); a != b {
			t.Fatalf("two playbooks from one text:\n%s\n%s", a, b)
		}
		for _, s := range pb.Steps {
			for _, e := range s.With {
				_, _ = e.Eval(incident.Scope{})
			}
			if s.When != nil {
				_, _ = s.When.Eval(incident.Scope{})
			}
		}
		other, err := Parse("f.yaml", append(src, '\n'), testSpecs)
		if err == nil && other.Digest == pb.Digest {
			t.Fatal("another text has the same digest")
		}
	})
}

func asJSON(t *testing.T, pb incident.Playbook) string {
	t.Helper()
	b, err := json.Marshal(pb)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
