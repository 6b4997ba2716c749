package rehearsal

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// logged makes a flow log of the lab's VPC, and gives a reader of its lines.
func (l *lab) logged(change func(*ec2.CreateFlowLogsInput)) (id string, lines func(stream string) []string) {
	l.Helper()
	logs := cloudwatchlogs.NewFromConfig(l.account.Config("eu-central-1"))
	ok(logs.CreateLogGroup(l.ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("flows")}))(l)
	in := &ec2.CreateFlowLogsInput{
		ResourceIds: []string{l.vpc}, ResourceType: types.FlowLogsResourceTypeVpc, TrafficType: types.TrafficTypeAll, LogGroupName: aws.String("flows"),
		DeliverLogsPermissionArn: aws.String("arn:aws:iam::111122223333:role/flows"), MaxAggregationInterval: aws.Int32(60),
	}
	if change != nil {
		change(in)
	}
	id = ok(l.ec2.CreateFlowLogs(l.ctx, in))(l).FlowLogIds[0]
	return id, func(stream string) []string {
		l.Helper()
		var all []string
		pages := cloudwatchlogs.NewFilterLogEventsPaginator(logs, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("flows"), LogStreamNamePrefix: &stream})
		for pages.HasMorePages() {
			for _, e := range ok(pages.NextPage(l.ctx))(l).Events {
				all = append(all, *e.Message)
			}
		}
		return all
	}
}

func (l *lab) eni() string { return *l.describe().NetworkInterfaces[0].NetworkInterfaceId }

// sends lets the lab's interface see an accepted packet to a remote server.
func (l *lab) sends(accepted bool) {
	eni := l.eni()
	l.world(func(w *world) {
		w.observed(packet{
			At: w.Now, Interface: eni, Egress: true, Accepted: accepted, Protocol: 6, Bytes: 120,
			Src: netip.MustParseAddrPort(w.EC2.Interfaces[eni].IPs[0] + ":40000"), Dst: netip.MustParseAddrPort("203.0.113.7:443"),
		})
	})
}

func TestPacketsOfAnIntervalBecomeOneRecordThatComesLate(t *testing.T) {
	l := newLab(t)
	_, lines := l.logged(nil)
	l.pass(10 * time.Second)
	l.sends(true)
	l.pass(10 * time.Second)
	l.sends(true)
	l.pass(5 * time.Minute)
	has := func() (n int) {
		for _, line := range lines(l.eni() + "-all") {
			if strings.Contains(line, "203.0.113.7") {
				n++
				if f := strings.Fields(line); len(f) != 14 || f[8] != "2" || f[9] != "240" || f[12] != "ACCEPT" || f[13] != "OK" {
					t.Errorf("record %q", line)
				}
			}
		}
		return n
	}
	if n := has(); n != 0 {
		t.Errorf("%d records before their interval is over and delivered", n)
	}
	l.pass(time.Minute)
	if n := has(); n != 1 {
		t.Errorf("%d records of one interval", n)
	}
}

func TestAnIntervalWithoutTrafficSaysSo(t *testing.T) {
	l := newLab(t)
	_, lines := l.logged(func(in *ec2.CreateFlowLogsInput) { in.TrafficType = types.TrafficTypeAccept })
	l.pass(3 * time.Minute)
	l.sends(false) // not kept by a log of accepted traffic
	l.world(func(w *world) {
		from := w.Now.Add(2 * time.Minute).Truncate(time.Minute)
		w.Flows.Skipped = []timeSpan{{from, from.Add(time.Minute)}}
	})
	l.pass(20 * time.Minute)
	all := lines(l.eni() + "-accept")
	skipped := 0
	for _, line := range all {
		if strings.HasSuffix(line, " - SKIPDATA") {
			skipped++
		} else if !strings.HasSuffix(line, " - NODATA") {
			t.Errorf("record %q", line)
		}
	}
	if len(all) < 15 || skipped != 1 {
		t.Errorf("%d records, %d skipped", len(all), skipped)
	}
}

func TestAFlowLogWritesTheFormatItWasGiven(t *testing.T) {
	l := newLab(t)
	id, lines := l.logged(func(in *ec2.CreateFlowLogsInput) {
		in.LogFormat = aws.String("${flow-direction} ${pkt-dstaddr} ${action} ${interface-id}")
	})
	l.sends(true)
	l.pass(10 * time.Minute)
	want := "egress 203.0.113.7 ACCEPT " + l.eni()
	if got := strings.Join(lines(l.eni()), "\n"); !strings.Contains(got, want) {
		t.Errorf("no %q in\n%s", want, got)
	}
	shown := ok(l.ec2.DescribeFlowLogs(l.ctx, &ec2.DescribeFlowLogsInput{Filter: []types.Filter{{Name: aws.String("resource-id"), Values: []string{l.vpc}}}}))(t).FlowLogs
	if len(shown) != 1 || *shown[0].FlowLogId != id || *shown[0].MaxAggregationInterval != 60 {
		t.Errorf("shown %v", shown)
	}
	ok(l.ec2.DeleteFlowLogs(l.ctx, &ec2.DeleteFlowLogsInput{FlowLogIds: []string{id}}))(t)
	_, err := l.ec2.DescribeFlowLogs(l.ctx, &ec2.DescribeFlowLogsInput{FlowLogIds: []string{id}})
	refused(t, "InvalidFlowLogId.NotFound", err)
}

func TestWhatNoFlowLogRecordsIsNotRecorded(t *testing.T) {
	from := netip.MustParseAddrPort("10.0.0.10:40000")
	for to, want := range map[string]bool{
		"169.254.169.254:80": true, "169.254.169.123:123": true, "10.0.0.2:53": true, "10.0.0.2:443": false, "203.0.113.2:53": false,
	} {
		if got := unrecorded(packet{Egress: true, Src: from, Dst: netip.MustParseAddrPort(to)}); got != want {
			t.Errorf("%s: %v", to, got)
		}
	}
}

// analysed gives the answer of an analysis: nothing where there is a path.
func (l *lab) analysed(source, destination, ip string) []string {
	l.Helper()
	in := &ec2.CreateNetworkInsightsPathInput{Source: &source, Destination: &destination, Protocol: types.ProtocolTcp}
	if ip != "" {
		in.DestinationIp = &ip
	}
	path := ok(l.ec2.CreateNetworkInsightsPath(l.ctx, in))(l).NetworkInsightsPath.NetworkInsightsPathId
	id := ok(l.ec2.StartNetworkInsightsAnalysis(l.ctx, &ec2.StartNetworkInsightsAnalysisInput{NetworkInsightsPathId: path}))(l).NetworkInsightsAnalysis.NetworkInsightsAnalysisId
	look := func() types.NetworkInsightsAnalysis {
		return ok(l.ec2.DescribeNetworkInsightsAnalyses(l.ctx, &ec2.DescribeNetworkInsightsAnalysesInput{NetworkInsightsAnalysisIds: []string{*id}}))(l).NetworkInsightsAnalyses[0]
	}
	if a := look(); a.Status != types.AnalysisStatusRunning || a.NetworkPathFound != nil {
		l.Errorf("just started, it is %s", a.Status)
	}
	l.pass(time.Minute)
	_, err := l.ec2.DeleteNetworkInsightsPath(l.ctx, &ec2.DeleteNetworkInsightsPathInput{NetworkInsightsPathId: path})
	refused(l, "AnalysisExistsForNetworkInsightsPath", err)
	a := look()
	ok(l.ec2.DeleteNetworkInsightsAnalysis(l.ctx, &ec2.DeleteNetworkInsightsAnalysisInput{NetworkInsightsAnalysisId: id}))(l)
	ok(l.ec2.DeleteNetworkInsightsPath(l.ctx, &ec2.DeleteNetworkInsightsPathInput{NetworkInsightsPathId: path}))(l)
	var codes []string
	for _, e := range a.Explanations {
		codes = append(codes, *e.ExplanationCode)
	}
	if *a.NetworkPathFound != (len(codes) == 0) {
		l.Errorf("found %v, with %v", *a.NetworkPathFound, codes)
	}
	return codes
}

func TestTheAnalyzerNamesWhatStopsAPath(t *testing.T) {
	a, err := Create("", "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{T: t, ctx: t.Context(), account: a, ec2: client(a, "eu-central-1"), instance: a.Alert().Instance}
	var igw string
	var nics []types.InstanceNetworkInterface
	l.world(func(w *world) {
		igw = sortedKeys(w.EC2.Gateways)[0]
		w.AutoScaling.Groups = nil // it would terminate what is cut off
	})
	nics = l.describe().NetworkInterfaces
	first, second := *nics[0].NetworkInterfaceId, *nics[1].NetworkInterfaceId
	check := func(what string, got []string, want string) {
		t.Helper()
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	check("out, over the gateway", l.analysed(first, igw, "198.51.100.1"), "")
	check("out, over the NAT gateway", l.analysed(second, igw, "198.51.100.1"), "")
	check("in, where the groups allow private addresses only", l.analysed(igw, first, ""), "ENI_SG_RULES_MISMATCH ENI_SG_RULES_MISMATCH")
	l.vpc = *nics[0].VpcId
	isolation := l.isolationGroup()
	for _, n := range nics {
		ok(l.ec2.ModifyNetworkInterfaceAttribute(l.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: n.NetworkInterfaceId, Groups: []string{isolation}}))(t)
	}
	check("out, isolated", l.analysed(first, igw, "198.51.100.1"), "SG_HAS_NO_RULES")
	check("in, isolated", l.analysed(igw, first, ""), "SG_HAS_NO_RULES")
	check("in, without a public address", l.analysed(igw, second, ""), "IGW_PRIVATE_IP_ASSOCIATION_FOR_INGRESS SG_HAS_NO_RULES")
}
