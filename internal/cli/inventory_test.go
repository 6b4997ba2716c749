package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/internal/triage"
)

// TestAnInventoryOfTenThousandIsWhole lists a fleet, within AWS's budgets: each
// instance once, and each line reads back.
func TestAnInventoryOfTenThousandIsWhole(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute")
	}
	const n, groups = inventorySize, 250
	account, err := rehearsal.CreateFleet("", n, groups, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := account.EnforceBudgets(); err != nil {
		t.Fatal(err)
	}
	list := func(output string, filters []string, words ...string) []byte {
		t.Helper()
		var out, said bytes.Buffer
		g := &globals{in: strings.NewReader(""), out: &out, err: &said, output: output}
		w := &workspace{g: g}
		w.simulate(account)
		if err := w.inventory(t.Context(), filters, triage.NewSearch(words...)); err != nil {
			t.Fatal(err, said.String())
		}
		return out.Bytes()
	}
	ids := make(map[string]bool, n)
	lines := bufio.NewScanner(bytes.NewReader(list("json", nil)))
	for lines.Scan() {
		var i triage.Instance
		if err := json.Unmarshal(lines.Bytes(), &i); err != nil {
			t.Fatal(err)
		}
		if i.ID == "" || i.State != "running" || len(i.Private) == 0 || !strings.HasPrefix(i.Group, "fleet-") || i.Launched.IsZero() {
			t.Fatalf("%+v", i)
		}
		ids[i.ID] = true
	}
	if len(ids) != n {
		t.Errorf("%d instances of %d", len(ids), n)
	}
	filter := []string{"tag:fleet=fleet-77,fleet-99"}
	if found := strings.Count(string(list("json", filter)), "\n"); found != 2*n/groups {
		t.Errorf("the filter leaves %d", found)
	}
	if table := strings.Split(strings.TrimSpace(string(list("text", filter, "FLEET=fleet-77"))), "\n"); table[0] != "REHEARSAL" || len(table) != 2+n/groups {
		t.Errorf("the search finds %d, after:\n%s", len(table)-2, table[0])
	}
}
