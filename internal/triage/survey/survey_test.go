package survey_test

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
	"github.com/cordon-ir/cordon/internal/triage"
	"github.com/cordon-ir/cordon/internal/triage/survey"
)

// scene is an account whose suspect is triaged; it counts the calls by IAM action.
type scene struct {
	t       *testing.T
	account *rehearsal.Account
	cfg     aws.Config
	here    incident.Target
	mu      sync.Mutex
	calls   map[string]int
}

func newScene(t *testing.T, scenario string) *scene {
	t.Helper()
	account, err := rehearsal.Create("", scenario, 1)
	if err != nil {
		t.Fatal(err)
	}
	alert := account.Alert()
	s := &scene{t: t, account: account, here: incident.Target{Account: alert.Account, Region: alert.Region}, calls: make(map[string]int)}
	s.cfg = account.Config(alert.Region)
	s.cfg.APIOptions = append(s.cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("count", func(
			ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
		) (middleware.InitializeOutput, middleware.Metadata, error) {
			service := map[string]string{
				"EC2": "ec2", "IAM": "iam", "Auto Scaling": "autoscaling", "Elastic Load Balancing": "elasticloadbalancing", "Elastic Load Balancing v2": "elasticloadbalancing",
			}[awsmiddleware.GetServiceID(ctx)]
			s.mu.Lock()
			s.calls[service+":"+awsmiddleware.GetOperationName(ctx)]++
			s.mu.Unlock()
			return next.HandleInitialize(ctx, in)
		}), middleware.After)
	})
	return s
}

func (s *scene) triage() triage.Report {
	s.t.Helper()
	r, err := survey.NewReader(s.cfg, s.here, triage.Usual).Triage(s.t.Context(), s.account.Alert().Instance)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *scene) change(f func(*ec2.Client) error) {
	s.t.Helper()
	if err := f(ec2.NewFromConfig(s.account.Config(s.here.Region))); err != nil {
		s.t.Fatal(err)
	}
}

func TestTheWebTiersSuspectIsTriagedWhole(t *testing.T) {
	s := newScene(t, "web-tier")
	r := s.triage()
	if r.Owner != "shop-platform" || r.Queue != "INC-SHOP" || r.Classification != "confidential" || r.Criticality != "high" {
		t.Errorf("by its tags: %q %q %q %q", r.Owner, r.Queue, r.Classification, r.Criticality)
	}
	if len(r.Unread) > 0 {
		t.Errorf("not read: %v", r.Unread)
	}
	var serving []string
	for _, b := range r.Balancers {
		serving = append(serving, strings.Join([]string{b.Kind, b.Name, b.State}, " "))
		if want := map[string]int{"web": 2, "web-admin": 0, "web-internal": 2}[b.Name]; b.Healthy != want || b.Others != want {
			t.Errorf("%s: %d of %d left, want %d", b.Name, b.Healthy, b.Others, want)
		}
	}
	if want := []string{"target-group web healthy", "target-group web-admin healthy", "classic web-internal InService"}; !slices.Equal(serving, want) {
		t.Errorf("registered with %v", serving)
	}
	if g := r.Scaling; g == nil || g.Group != "web" || g.Desired != 3 || g.Min != 2 || g.Max != 4 || g.State != "InService" || len(g.Obstacles) > 0 {
		t.Errorf("the group: %+v", g)
	}
	if r.Role == nil || r.Role.Name != "web-tier" || len(r.Role.Shared) != 2 || slices.Contains(r.Role.Shared, r.ID) {
		t.Errorf("the role: %+v", r.Role)
	}
	if r.Impact.Level != "high" {
		t.Errorf("impact %+v", r.Impact)
	}
	for action := range s.calls {
		if !slices.Contains(survey.Permissions(), action) {
			t.Errorf("%s is called and not among the permissions", action)
		}
	}
}

func TestOpenRulesAreThoseThatTheInternetReaches(t *testing.T) {
	s := newScene(t, "web-tier")
	if r := s.triage(); slices.ContainsFunc(r.Rules, func(u triage.Rule) bool { return u.Internet }) || len(r.Rules) == 0 {
		t.Fatalf("before: %+v", r.Rules)
	}
	group := s.triage().Rules[0].Group
	group, _, _ = strings.Cut(group, " ")
	s.change(func(c *ec2.Client) error {
		_, err := c.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []ec2types.IpPermission{
			{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}},
			{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("192.168.0.0/16")}}},
		}})
		return err
	})
	r := s.triage()
	var open []string
	for _, u := range r.Rules {
		if u.Internet {
			open = append(open, u.String())
		}
	}
	if !slices.Equal(open, []string{"tcp 22 from 0.0.0.0/0"}) {
		t.Errorf("open to the Internet: %v", open)
	}
	if !slices.ContainsFunc(r.Impact.Reasons, func(why triage.Reason) bool { return strings.Contains(why.Text, "remote administration") }) {
		t.Errorf("impact: %+v", r.Impact)
	}
}

func TestAReplacementThatCantLaunchIsSaid(t *testing.T) {
	s := newScene(t, "web-tier")
	before := s.triage()
	s.change(func(c *ec2.Client) error {
		out, err := c.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{before.ID}})
		if err == nil {
			_, err = c.DeregisterImage(t.Context(), &ec2.DeregisterImageInput{ImageId: out.Reservations[0].Instances[0].ImageId})
		}
		return err
	})
	r := s.triage()
	if len(r.Scaling.Obstacles) == 0 || r.Impact.Points != before.Impact.Points+2 || !strings.Contains(strings.Join(r.Breaks, "\n"), "launches no replacement") {
		t.Errorf("obstacles %v, %d points, %d before", r.Scaling.Obstacles, r.Impact.Points, before.Impact.Points)
	}
}

func TestWhatCantBeReadIsNamedAndTheRestIsThere(t *testing.T) {
	for denied, missing := range map[string]string{
		"iam:*": "its role", "autoscaling:Describe*": "its Auto Scaling group", "elasticloadbalancing:*": "its load balancers", "ec2:DescribeRouteTables": "its network",
	} {
		t.Run(denied, func(t *testing.T) {
			s := newScene(t, "web-tier")
			if err := s.account.Deny(denied); err != nil {
				t.Fatal(err)
			}
			r := s.triage()
			if len(r.Unread) != 1 || !strings.HasPrefix(r.Unread[0], missing+": ") || r.Owner == "" {
				t.Errorf("not read: %v; owner %q", r.Unread, r.Owner)
			}
		})
	}
}

func TestSeveralInstancesShareWhatIsReadOnce(t *testing.T) {
	s := newScene(t, "web-tier")
	reader := survey.NewReader(s.cfg, s.here, triage.Usual)
	n := 0
	for i, err := range survey.Inventory(t.Context(), s.cfg, s.here, triage.Usual, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reader.Triage(t.Context(), i.ID); err != nil {
			t.Error(err)
		}
		n++
	}
	for action, most := range map[string]int{"ec2:DescribeRouteTables": 1, "elasticloadbalancing:DescribeTargetGroups": 1, "iam:GetInstanceProfile": 2, "autoscaling:DescribeAutoScalingGroups": 1} {
		if s.calls[action] == 0 || s.calls[action] > most || n < 3 {
			t.Errorf("%s: %d calls for %d instances", action, s.calls[action], n)
		}
	}
}

func TestAReportReadsBackFromItsJSON(t *testing.T) {
	for _, scenario := range []string{"web-tier", "reverse-shells"} {
		r := newScene(t, scenario).triage()
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back triage.Report
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, r) {
			t.Errorf("%s:\n%s\n%+v", scenario, b, back)
		}
	}
}
