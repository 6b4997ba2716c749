package isolate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/cordon-ir/cordon/internal/incident"
)

// post is a site whose flow logs can be given lines, and one run of isolate.observe on it.
type post struct {
	*site
	action   *observation
	inputs   map[string]any
	since    time.Time
	lines    []string // put among what the account's flow logs have
	recorded []json.RawMessage
	resumed  bool
	paid     map[string]bool // analyses
}

func newPost(t *testing.T, inputs map[string]any) *post {
	t.Helper()
	s := newSite(t, 1)
	p := &post{site: s, inputs: inputs, since: s.acct.Clock().Now(), paid: make(map[string]bool)}
	watched := s.cfg.Copy()
	watched.APIOptions = append(watched.APIOptions, s.watch, p.plant, p.charge)
	p.action = &observation{func(context.Context, incident.Target) (aws.Config, error) { return watched, nil }}
	return p
}

// cutOff isolates the instance first.
func (p *post) cutOff() {
	p.t.Helper()
	p.do("isolate.autoscaling", nil)
	p.do("isolate.network", nil)
	p.since = p.acct.Clock().Now()
	p.crashAt(0, false)
}

// charge counts the analyses that AWS would ask money for, whoever sees its answer.
func (p *post) charge(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Charge",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			out, meta, err := next.HandleInitialize(ctx, in)
			if started, ok := out.Result.(*ec2.StartNetworkInsightsAnalysisOutput); ok && err == nil {
				p.paid[*started.NetworkInsightsAnalysis.NetworkInsightsAnalysisId] = true
			}
			return out, meta, err
		}), middleware.After)
}

// plant adds the lines to what FilterLogEvents answers, of their own interface.
func (p *post) plant(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Plant",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			out, meta, err := next.HandleInitialize(ctx, in)
			asked, ok := in.Parameters.(*cloudwatchlogs.FilterLogEventsInput)
			if !ok || err != nil || asked.NextToken != nil {
				return out, meta, err
			}
			answer := out.Result.(*cloudwatchlogs.FilterLogEventsOutput)
			for _, line := range p.lines {
				if eni, _, _ := strings.Cut(*asked.LogStreamNamePrefix, "-all"); strings.Contains(line, eni) {
					answer.Events = append(answer.Events, logstypes.FilteredLogEvent{Message: &line})
				}
			}
			return out, meta, nil
		}), middleware.Before)
}

// line is a record of a connection with a server, so long after the cut.
func (p *post) line(n nic, in bool, remote string, after time.Duration, action string) string {
	local := n.Addresses[0].String() + " "
	ends := local + remote + " 40000 443"
	if in {
		ends = remote + " " + strings.TrimSpace(local) + " 443 40000"
	}
	start := p.since.Add(after).Unix() + 1
	return fmt.Sprintf("2 111122223333 %s %s 6 3 360 %d %d %s OK", n.ID, ends, start, start+50, action)
}

func (p *post) nics() []nic {
	p.t.Helper()
	return must[[]nic](p.t)(nicsOf(p.ctx, p.ec2(), p.target))
}

func (p *post) request() incident.Request {
	inputs := map[string]any{"since": p.since.Format(time.RFC3339Nano)}
	for _, f := range p.action.Spec().Inputs {
		if f.Default != nil {
			inputs[f.Name] = f.Default
		}
	}
	for name, v := range p.inputs {
		inputs[name] = v
	}
	return incident.Request{
		Case: incident.Case{ID: p.caseID}, Run: "r1", Step: "observe", Target: p.target, Inputs: inputs, Token: "0123456789abcdef0123456789abcdef",
		Clock: p.acct.Clock(), Progress: func(incident.Progress) {},
		Turn: func(_ context.Context, _ string, do func() error) error { return do() },
		Record: func(_ context.Context, _ incident.EntryType, data any) error {
			b, err := json.Marshal(data)
			p.recorded = append(p.recorded, b)
			return err
		},
		Recorded: func(incident.EntryType) []json.RawMessage { return p.recorded },
	}
}

// observe plans and runs the step.
func (p *post) observe() (incident.Proposal, incident.Verification, error) {
	p.t.Helper()
	req := p.request()
	proposal := journaled(p.t, must[incident.Proposal](p.t)(p.action.Plan(p.ctx, req)))
	req.Resumed = p.resumed
	r, err := p.action.Apply(p.ctx, req, proposal)
	if err != nil {
		return proposal, incident.Verification{}, err
	}
	v, err := p.action.Verify(p.ctx, req, proposal, journaled(p.t, r))
	return proposal, v, err
}

func (p *post) says(v incident.Verification, words ...string) {
	p.t.Helper()
	all := strings.Join(v.Observed, "\n")
	for _, e := range v.Residual {
		all += "\n" + e.Path + ": " + e.Reason
	}
	for _, w := range words {
		if !strings.Contains(all, w) {
			p.t.Errorf("nothing says %q:\n%s", w, all)
		}
	}
}

func TestAQuietInstanceIsWatchedUntilTheFlowLogsHaveShownIt(t *testing.T) {
	p := newPost(t, nil)
	p.cutOff()
	proposal, v, err := p.observe()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range p.nics() {
		p.says(v, "of "+n.name()+": no ACCEPT among")
	}
	p.says(v, "no path in the configuration for new connections: SG_HAS_NO_RULES", "what VPC flow logs do not record")
	if took := p.acct.Clock().Now().Sub(p.since); took < 5*time.Minute || took > 9*time.Minute {
		t.Errorf("it took %s", took)
	}
	if notes := strings.Join(proposal.Notes, "\n"); proposal.Impact != incident.Additive || len(proposal.Changes) != 4 || !strings.Contains(notes, "USD 0.40") {
		t.Errorf("impact %s, changes %v, notes %s", proposal.Impact, proposal.Changes, notes)
	}
	p.leftNothing()
	spec := p.action.Spec()
	for _, call := range p.calls {
		if !slices.Contains(spec.Permissions, call) {
			t.Errorf("it calls %s, which it does not declare", call)
		}
	}
}

// leftNothing: neither a path nor an analysis is there.
func (p *post) leftNothing() {
	p.t.Helper()
	paths := must[*ec2.DescribeNetworkInsightsPathsOutput](p.t)(p.ec2().DescribeNetworkInsightsPaths(p.ctx, &ec2.DescribeNetworkInsightsPathsInput{}))
	analyses := must[*ec2.DescribeNetworkInsightsAnalysesOutput](p.t)(p.ec2().DescribeNetworkInsightsAnalyses(p.ctx, &ec2.DescribeNetworkInsightsAnalysesInput{}))
	if len(paths.NetworkInsightsPaths)+len(analyses.NetworkInsightsAnalyses) > 0 {
		p.t.Errorf("left behind: %v, %v", paths.NetworkInsightsPaths, analyses.NetworkInsightsAnalyses)
	}
}

func TestWhatArrivesOnAPathThatWasCutFailsTheStep(t *testing.T) {
	const server, neighbour = "203.0.113.7", "10.20.0.77"
	for _, test := range []struct {
		name   string
		in     bool
		remote string
		after  time.Duration
		action string
		fails  bool
		says   string
	}{
		{"it arrives", true, server, 3 * time.Minute, "ACCEPT", true, "still passing after the cut, on a path that was said to be cut"},
		{"it leaves, and no answer comes", false, server, 3 * time.Minute, "ACCEPT", false, "packets still leave the interface"},
		{"it was before the cut", true, server, -30 * time.Second, "ACCEPT", false, "no ACCEPT among"},
		{"it may have been before the cut", true, server, 20 * time.Second, "ACCEPT", false, "may be of packets from before it"},
		{"it is rejected", true, server, 3 * time.Minute, "REJECT", false, "no ACCEPT among"},
		{"the path was said to live on", true, neighbour, 3 * time.Minute, "ACCEPT", false, "on a path that was said to live on"},
		{"nothing was said of the path", true, "2001:db8::1", 3 * time.Minute, "ACCEPT", false, "nothing was said of its path"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPost(t, map[string]any{"reachability_analyzer": false})
			n := p.nics()[0]
			p.inputs["cut"] = []string{n.name() + " as 198.51.100.5 through internet-gateway igw-1 (0.0.0.0/0)"}
			p.inputs["open"] = []string{n.name() + " with neighbours in the same subnet subnet-1 (10.20.0.0/24)"}
			p.lines = []string{p.line(n, test.in, test.remote, test.after, test.action)}
			_, v, err := p.observe()
			var broken *incident.NotVerifiedError
			if errors.As(err, &broken) != test.fails || err != nil && !test.fails {
				t.Errorf("error %v", err)
			}
			p.says(v, test.says)
			if changed := p.changed(); len(changed) > 0 {
				t.Errorf("it calls %v", changed)
			}
		})
	}
}

func TestWhatCanNotBeReadIsSaid(t *testing.T) {
	p := newPost(t, map[string]any{"watch": "0", "max_analyses": 1})
	n := p.nics()[0]
	for _, to := range []*ec2.CreateFlowLogsInput{
		{LogDestinationType: ec2types.LogDestinationTypeKinesisDataFirehose, LogDestination: aws.String("arn:aws:firehose:eu-central-1:111122223333:deliverystream/flows"), TrafficType: ec2types.TrafficTypeAll},
		{LogDestinationType: ec2types.LogDestinationTypeS3, LogDestination: aws.String("arn:aws:s3:::gone"), TrafficType: ec2types.TrafficTypeAll},
		{LogDestinationType: ec2types.LogDestinationTypeS3, LogDestination: aws.String("arn:aws:s3:::flows"), TrafficType: ec2types.TrafficTypeAll, LogFormat: aws.String("${start} ${action}")},
		{LogDestinationType: ec2types.LogDestinationTypeS3, LogDestination: aws.String("arn:aws:s3:::flows"), TrafficType: ec2types.TrafficTypeAll, DestinationOptions: &ec2types.DestinationOptionsRequest{FileFormat: ec2types.DestinationFileFormatParquet}},
		{LogGroupName: aws.String("/rejected"), TrafficType: ec2types.TrafficTypeReject, DeliverLogsPermissionArn: aws.String("arn:aws:iam::111122223333:role/x")},
		{LogGroupName: aws.String("/gone"), TrafficType: ec2types.TrafficTypeAll, DeliverLogsPermissionArn: aws.String("arn:aws:iam::111122223333:role/x")},
		{LogGroupName: aws.String("/shop/flow-logs"), TrafficType: ec2types.TrafficTypeAll, DeliverLogsPermissionArn: aws.String("arn:aws:iam::111122223333:role/x"), LogFormat: aws.String("${srcaddr} ${action}")},
	} {
		to.ResourceIds, to.ResourceType = []string{n.ID}, ec2types.FlowLogsResourceTypeNetworkInterface
		must[*ec2.CreateFlowLogsOutput](t)(p.ec2().CreateFlowLogs(p.ctx, to))
	}
	p.lines = []string{"garbage of " + n.ID}
	proposal, v, err := p.observe()
	if err != nil {
		t.Fatal(err)
	}
	p.says(v, "is not read here: it goes to arn:aws:firehose:", "could not be read: operation error S3: HeadBucket", "its format has no field interface-id", "its files in flows are Parquet", "it records rejected traffic only", "it exists and could not be read", "its format has no field start",
		`1 lines can't be read, the first is "garbage of`, "nothing was observed")
	if notes := strings.Join(proposal.Notes, "\n"); len(proposal.Changes) != 1 || !strings.Contains(notes, "3 of 4 analyses are left out") {
		t.Errorf("changes %v, notes %s", proposal.Changes, notes)
	}
	if took := p.acct.Clock().Now().Sub(p.since); took > 2*time.Minute {
		t.Errorf("told not to wait, it took %s", took)
	}
}

func TestWhoMayNotLookIsToldSoAndGoesOn(t *testing.T) {
	p := newPost(t, map[string]any{"watch": "0"})
	if err := p.acct.Deny("ec2:CreateNetworkInsightsPath", "logs:FilterLogEvents"); err != nil {
		t.Fatal(err)
	}
	_, v, err := p.observe()
	if err != nil {
		t.Fatal(err)
	}
	p.says(v, "no opinion: path from", "it exists and could not be read")
	if err := p.acct.Deny("ec2:DescribeFlowLogs", "ec2:DescribeNetworkInsightsPaths"); err != nil {
		t.Fatal(err)
	}
	proposal, v, err := p.observe()
	if err != nil {
		t.Fatal(err)
	}
	p.says(v, "no flow log covers "+p.nics()[0].name())
	if !strings.Contains(strings.Join(proposal.Notes, "\n"), "flow logs are not looked at") {
		t.Errorf("notes %v", proposal.Notes)
	}
}

func TestAPathThatTheAnalyzerFindsIsNeverHidden(t *testing.T) {
	p := newPost(t, map[string]any{"watch": "0"})
	n := p.nics()[0]
	groups := must[[]ec2types.SecurityGroup](t)(groupsBy(p.ctx, p.ec2(), "group-name", "web-app"))
	must[*ec2.ModifyNetworkInterfaceAttributeOutput](t)(p.ec2().ModifyNetworkInterfaceAttribute(p.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: &n.ID, Groups: []string{*groups[0].GroupId},
	}))
	_, v, err := p.observe()
	if err != nil {
		t.Fatal(err)
	}
	p.says(v, "a path was found", "VPC Reachability Analyzer finds a path for new TCP connections")
}

func TestAWatchThatDiesIsResumedWithoutPayingTwice(t *testing.T) {
	for at := 1; at <= 16; at++ {
		for _, after := range []bool{false, true} {
			p := newPost(t, map[string]any{"watch": "0"})
			p.crashAt(at, after)
			_, _, err := p.observe()
			if err == nil {
				t.Fatalf("call %d: it did not die", at)
			}
			p.crashAt(0, false)
			p.resumed = true
			if _, _, err := p.observe(); err != nil {
				t.Fatalf("call %d, after it %v: %v", at, after, err)
			}
			p.leftNothing()
			if len(p.paid) != 4 {
				t.Errorf("call %d, after it %v: %d analyses were paid for", at, after, len(p.paid))
			}
		}
	}
}

func TestBadInputsOfAWatchAreRefused(t *testing.T) {
	p := newPost(t, nil)
	for name, v := range map[string]any{"since": "yesterday", "watch": "long", "max_analyses": -1} {
		p.inputs = map[string]any{name: v}
		if _, err := p.action.Plan(p.ctx, p.request()); !strings.Contains(fmt.Sprint(err), name+":") {
			t.Errorf("%s %v: %v", name, v, err)
		}
	}
	for _, v := range []string{"46m", "-1m", "60"} {
		p.inputs = map[string]any{"watch": v}
		if _, err := p.action.Plan(p.ctx, p.request()); !strings.Contains(fmt.Sprint(err), "is not between 0 and") {
			t.Errorf("%s: %v", v, err)
		}
	}
}
