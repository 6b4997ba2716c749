package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// foldersOf a service, as the journal names it, in botocore: by the prefix of its
// IAM actions, which the two Elastic Load Balancing APIs have in common.
func foldersOf(service string) []string {
	if service == "elasticloadbalancing" {
		return []string{"elb", "elbv2"}
	}
	return []string{service}
}

// tally is what has been checked.
type tally struct {
	requests   int
	operations map[string]int // "ec2:DescribeInstances" to its requests
	values     int            // members, items, keys and values
	hidden     int            // of them by name only, because the journal has not what they were
}

func (n *tally) add(o tally) {
	n.requests, n.values, n.hidden = n.requests+o.requests, n.values+o.values, n.hidden+o.hidden
	if n.operations == nil {
		n.operations = make(map[string]int)
	}
	for operation, requests := range o.operations {
		n.operations[operation] += requests
	}
}

func (n tally) String() string {
	return fmt.Sprintf("%d requests of %d operations checked against AWS's models: %d values, %d of them by name only",
		n.requests, len(n.operations), n.values, n.hidden)
}

// list has an operation in each line.
func (n tally) list() string {
	var b strings.Builder
	for _, operation := range slices.Sorted(maps.Keys(n.operations)) {
		fmt.Fprintf(&b, "\n%5d %s", n.operations[operation], operation)
	}
	return b.String()
}

// checkJournal holds every request that a case's journal has to AWS's own
// models; export is what `cordon journal export` writes. Of reads it has those that were sent with --verbose.
// One unknown or ill-formed member fails the test, and so does a journal without a request.
func checkJournal(t *testing.T, export []byte) tally {
	t.Helper()
	all := mustModels(t)
	n := tally{operations: make(map[string]int)}
	for line := range bytes.Lines(export) {
		var entry struct {
			Seq  uint64 `json:"seq"`
			Type string `json:"type"`
			Data struct {
				Service   string          `json:"service"`
				Operation string          `json:"operation"`
				Params    json.RawMessage `json:"params"`
			} `json:"data"`
		}
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Errorf("%v: %s", err, line)
			continue
		}
		if entry.Type != "call.intent" {
			continue
		}
		call := entry.Data
		c := checkCall(all, call.Service, call.Operation, call.Params)
		for _, problem := range c.problems {
			t.Errorf("journal entry %d: %s:%s", entry.Seq, call.Service, problem)
		}
		n.requests++
		n.operations[call.Service+":"+call.Operation]++
		n.values, n.hidden = n.values+c.values, n.hidden+c.hidden
	}
	if n.requests == 0 {
		t.Error("the journal has no request to check")
	}
	return n
}

// checkCall holds one call to the model of its service; where two have its
// prefix, to the one that it fits better.
func checkCall(all map[string]*model, service, operation string, params []byte) *checker {
	var best *checker
	for _, folder := range foldersOf(service) {
		m, ok := all[folder]
		if !ok {
			return &checker{problems: []string{operation + ": no model of this service is read"}}
		}
		c := checkRequest(m, operation, params)
		if best == nil || len(c.problems) < len(best.problems) {
			best = c
		}
	}
	return best
}

func TestEveryRequestOfTheRehearsalsIsWellFormed(t *testing.T) {
	rehearsed, err := rehearsals()
	if err != nil {
		t.Fatal(err)
	}
	var all tally
	for _, r := range rehearsed {
		t.Run(r.name, func(t *testing.T) { all.add(checkJournal(t, r.export)) })
	}
	calls := called(t, ".")
	maps.DeleteFunc(calls, func(_, file string) bool { return strings.HasPrefix(file, "internal/vault/") })  // see store_requests_test.go
	maps.DeleteFunc(calls, func(_, file string) bool { return strings.HasPrefix(file, "internal/triage/") }) // see triage_requests_test.go
	delete(calls, "ssm:CancelCommand")                                                                       // see command_requests_test.go
	delete(calls, "ec2:DescribeSnapshotAttribute")                                                           // evidence verify journals no reads: see kept_requests_test.go
	delete(calls, "ec2:DescribeImageAttribute")                                                              // the same
	all.covers(t, calls)
	t.Logf("%s%s", all, all.list())
}

func TestACallIsHeldToItsServicesModel(t *testing.T) {
	tests := []struct{ service, operation, params, want string }{
		{"elasticloadbalancing", "DescribeLoadBalancers", `{"LoadBalancerNames":["a"]}`, ""},  // the classic one
		{"elasticloadbalancing", "DescribeLoadBalancers", `{"LoadBalancerArns":["arn"]}`, ""}, // version 2
		{"elasticloadbalancing", "DescribeLoadBalancers", `{"LoadBalancerIds":["a"]}`, "no member LoadBalancerIds"},
		{"elasticloadbalancing", "DescribeBalancers", `{}`, "no such operation"},
		{"ec2", "DescribeInstances", `{}`, ""},
		{"dynamodb", "Query", `{}`, "no model of this service"},
	}
	for _, tt := range tests {
		got := strings.Join(checkCall(mustModels(t), tt.service, tt.operation, []byte(tt.params)).problems, "\n")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s:%s %s: got %q, want %q", tt.service, tt.operation, tt.params, got, tt.want)
		}
	}
}
