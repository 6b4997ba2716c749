package rehearsal

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// Scenario is an account to rehearse in.
type Scenario struct {
	Name    string `json:"name"`
	Summary string `json:"summary"`
}

// scenario builds its world and leaves it at the time at which the alert comes in.
type scenario struct {
	Scenario
	start time.Time
	build func(*world) error
}

func scenarios() []scenario {
	return []scenario{{
		Scenario: Scenario{Name: "web-tier", Summary: "a web server in an Auto Scaling group, behind two load balancers, runs a web shell"},
		start:    time.Date(2026, 3, 14, 3, 0, 0, 0, time.UTC),
		build:    webTier,
	}, {
		Scenario: Scenario{Name: "reverse-shells", Summary: "a build server with three interfaces, held over every path its network has"},
		start:    time.Date(2026, 5, 9, 22, 0, 0, 0, time.UTC),
		build:    reverseShells,
	}}
}

// recordFlows gives a VPC a flow log to a log group of its own, that is this old.
func recordFlows(w *world, vpc, group string, age time.Duration) {
	role := aws.String("flow-logs")
	must(iamCreateRole(w.call("iam"), &iam.CreateRoleInput{RoleName: role, AssumeRolePolicyDocument: trustOf("vpc-flow-logs.amazonaws.com")}))
	must(logsCreateLogGroup(w.call("logs"), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &group}))
	id := must(ec2CreateFlowLogs(w.call("ec2"), &ec2.CreateFlowLogsInput{
		ResourceIds: []string{vpc}, ResourceType: ec2types.FlowLogsResourceTypeVpc, TrafficType: ec2types.TrafficTypeAll, LogGroupName: &group,
		DeliverLogsPermissionArn: aws.String("arn:aws:iam::" + w.Account + ":role/" + *role),
	})).FlowLogIds[0]
	made := w.Now.Add(-age)
	w.EC2.FlowLogs[id].Created, w.Logs.Groups[group].Created, w.IAM.Roles[*role].Created = made, made, made
}

// Scenarios lists what Create can make.
func Scenarios() []Scenario {
	var list []Scenario
	for _, s := range scenarios() {
		list = append(list, s.Scenario)
	}
	return list
}

// evidenceBucket is where the scenarios want the evidence: config.yaml names it.
func (w *world) evidenceBucket() string { return "cordon-evidence-" + w.Account }

// Create makes an account from a scenario in dir, which must not exist or be empty,
// and a configuration for it, config.yaml, beside it; an empty dir keeps the
// account in memory. The same scenario and seed give the same account.
func Create(dir, name string, seed int64) (*Account, error) {
	all := scenarios()
	at := slices.IndexFunc(all, func(s scenario) bool { return s.Name == name })
	if at < 0 {
		var names []string
		for _, s := range all {
			names = append(names, s.Name)
		}
		return nil, fmt.Errorf("no scenario %q: there is %s", name, strings.Join(names, ", "))
	}
	s := all[at]
	a, err := newAccount(dir, s.start, seed, func(w *world) error {
		w.Scenario = s.Name
		if err := s.build(w); err != nil {
			return err
		}
		return w.addEvidenceAccount()
	})
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", name, err)
	}
	if dir == "" {
		return a, nil
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), a.world.config(), 0o600); err != nil {
		return nil, fmt.Errorf("scenario %s: %w", name, err)
	}
	return a, nil
}

// config is the configuration that fits the scenario's bucket and tags.
func (w *world) config() []byte {
	return fmt.Appendf(nil, `# Made with the simulated account: scenario %s. REHEARSAL.
evidence:
  bucket: %s
  region: %s
  mode: governance
  days: 30
tags: {owner: owner, queue: queue, classification: data-classification, criticality: criticality}
accounts:
  "%s": {role: "arn:aws:iam::%[4]s:role/%s"}
`, w.Scenario, w.evidenceBucket(), w.Region, evidenceAccount, evidenceRole)
}

// Alert is what the person on call is told.
type Alert struct {
	Rehearsal bool      `json:"rehearsal"` // always true
	Scenario  string    `json:"scenario"`
	Account   string    `json:"account"`
	Region    string    `json:"region"`
	Instance  string    `json:"instance"` // suspected
	Bucket    string    `json:"bucket"`   // for the evidence
	Time      time.Time `json:"time"`
	Title     string    `json:"title"`
	Severity  string    `json:"severity"`
	Text      string    `json:"text"`
}

// Alert is the one the scenario begins with.
func (a *Account) Alert() Alert {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.world.Alert
}

// SetCredentials says what the caller's credentials are: ok or expired.
func (a *Account) SetCredentials(state string) error {
	if state != "ok" && state != "expired" {
		return fmt.Errorf("credentials %q: want ok or expired", state)
	}
	return a.with(func(w *world) bool {
		w.Credentials = state
		return true
	})
}

// Deny takes permissions from the caller: IAM actions, service:Operation, with *.
func (a *Account) Deny(actions ...string) error {
	for _, action := range actions {
		if err := checkPattern(action); err != nil {
			return err
		}
	}
	return a.with(func(w *world) bool {
		w.Denied = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(actions), w.Denied...))))
		return true
	})
}

// SetOwner lets a VPC belong to another account, which shares its subnets with this one: its
// ACLs and route tables are seen here and can't be changed.
func (a *Account) SetOwner(vpc, owner string) error {
	var err error
	if werr := a.with(func(w *world) bool {
		v := w.EC2.VPCs[vpc]
		if v == nil {
			err = fmt.Errorf("no VPC %s in the simulated account", vpc)
			return false
		}
		v.Owner = owner
		return true
	}); werr != nil {
		return werr
	}
	return err
}

// Inject makes calls to come go wrong.
func (a *Account) Inject(f Fault) error {
	if err := checkPattern(f.Operation); err != nil {
		return err
	}
	switch {
	case f.Kind == "stuck" && f.Operation != "ssm:SendCommand":
		return fmt.Errorf("fault stuck of %s: only ssm:SendCommand can be stuck", f.Operation)
	case !slices.Contains([]string{"throttle", "lost", "error", "stuck"}, f.Kind):
		return fmt.Errorf("fault %q: want throttle, lost, error or stuck", f.Kind)
	case f.Kind == "error" && f.Code == "":
		return fmt.Errorf("fault error in %s: which error code?", f.Operation)
	case f.Count < 1 || f.Skip < 0:
		return fmt.Errorf("fault in %s: %d calls after %d", f.Operation, f.Count, f.Skip)
	}
	return a.with(func(w *world) bool {
		w.Faults = append(w.Faults, f)
		return true
	})
}

// Mend takes back the faults that have not happened yet.
func (a *Account) Mend() error {
	return a.with(func(w *world) bool {
		w.Faults = nil
		return true
	})
}

func checkPattern(action string) error {
	if _, err := path.Match(action, "ec2:DescribeInstances"); err != nil {
		return fmt.Errorf("action %q: %w", action, err)
	}
	if action != "*" && !strings.Contains(action, ":") {
		return fmt.Errorf("action %q: want service:Operation, as in IAM", action)
	}
	return nil
}
