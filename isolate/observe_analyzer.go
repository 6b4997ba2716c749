package isolate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	// analysisPrice is what an analysis costs, in US dollars (Amazon VPC pricing,
	// "Network Analysis", https://aws.amazon.com/vpc/pricing/).
	analysisPrice = 0.10
	// analysisLimit bounds the wait for the analyses of a target; AWS names no time.
	analysisLimit = 4 * time.Minute
	// anyInternetAddress stands for the Internet: without a destination address a
	// path to an Internet gateway has no route (RFC 5737, TEST-NET-2).
	anyInternetAddress = "198.51.100.1"
)

// question is one analysis: does TCP over IPv4 get from here to there?
type question struct {
	NIC  nic    `json:"interface"`
	From string `json:"from"`
	To   string `json:"to"`
	IP   string `json:"ip,omitempty"` // of the destination
}

func (q question) String() string { return fmt.Sprintf("from %s to %s", q.From, q.To) }

// opinion is the analyzer's answer.
type opinion struct {
	Question question `json:"question"`
	Found    bool     `json:"found"`
	Codes    []string `json:"codes,omitempty"` // what stops it, or what it passes
	Failed   string   `json:"failed,omitempty"`
}

// answered is what is recorded as soon as every question has its answer.
type answered struct {
	Opinions []opinion `json:"opinions"`
}

// questions are worth asking of each interface: the Internet gateway of its
// VPC, both ways (a NAT gateway on the way is part of that path; it can't be a path's end: Reachability Analyzer
// Guide, "How it works"), and what else its route table names. IPv6 is not analysed by AWS.
func questions(ctx context.Context, client *ec2.Client, nics []nic) ([]question, error) {
	var all []question
	for _, n := range nics {
		gateway, targets, err := waysOut(ctx, client, n)
		if err != nil {
			return nil, err
		}
		if gateway != "" {
			all = append(all, question{NIC: n, From: gateway, To: n.ID}, question{NIC: n, From: n.ID, To: gateway, IP: anyInternetAddress})
		}
		for _, t := range targets {
			all = append(all, question{NIC: n, From: n.ID, To: t})
		}
	}
	return all, nil
}

// waysOut are the Internet gateway of an interface's VPC, and the ends that
// the route table of its subnet names besides.
func waysOut(ctx context.Context, client *ec2.Client, n nic) (gateway string, targets []string, err error) {
	gateways, err := client.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{
		Filters: []ec2types.Filter{{Name: aws.String("attachment.vpc-id"), Values: []string{n.VPC}}},
	})
	if err != nil {
		return "", nil, fmt.Errorf("the Internet gateway of %s: %w", n.VPC, err)
	}
	for _, g := range gateways.InternetGateways {
		gateway = aws.ToString(g.InternetGatewayId)
	}
	tables, err := client.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{
		Filters: []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{n.VPC}}},
	})
	if err != nil {
		return "", nil, fmt.Errorf("route tables of %s: %w", n.VPC, err)
	}
	for _, r := range tableFor(n.Subnet, tables.RouteTables).Routes {
		for _, id := range []*string{r.GatewayId, r.TransitGatewayId, r.VpcPeeringConnectionId} {
			prefix, _, _ := strings.Cut(aws.ToString(id), "-")
			if slices.Contains([]string{"tgw", "pcx", "vgw", "vpce"}, prefix) && !slices.Contains(targets, *id) {
				targets = append(targets, *id)
			}
		}
	}
	slices.Sort(targets)
	return gateway, targets, nil
}

// tableFor is the subnet's route table: its own, or the VPC's main one.
func tableFor(subnet string, tables []ec2types.RouteTable) (main ec2types.RouteTable) {
	for _, t := range tables {
		for _, a := range t.Associations {
			if aws.ToString(a.SubnetId) == subnet {
				return t
			}
			if aws.ToBool(a.Main) {
				main = t
			}
		}
	}
	return main
}

// insightsToken tags what the step makes with the step's token.
const insightsToken = "cordon:token"

// analyzer asks the questions of one step.
type analyzer struct {
	ec2  *ec2.Client
	req  incident.Request
	made []string // paths
}

// tags mark what the step makes, so that a later try finds it.
func (a *analyzer) tags(kind ec2types.ResourceType) []ec2types.TagSpecification {
	tag := func(k, v string) ec2types.Tag { return ec2types.Tag{Key: aws.String(k), Value: aws.String(v)} }
	return []ec2types.TagSpecification{{ResourceType: kind, Tags: []ec2types.Tag{
		tag("cordon:case", a.req.Case.ID), tag("cordon:run", a.req.Run), tag("cordon:step", a.req.Step), tag(insightsToken, a.req.Token),
	}}}
}

// ask asks them all at once, and leaves nothing behind. The client tokens are the same in
// every try, so that one after a crash goes on with the analyses of the one
// before; an answer that was recorded is not asked for, and not paid for, again.
func (a *analyzer) ask(ctx context.Context, all []question) ([]opinion, error) {
	if len(all) == 0 {
		return nil, nil
	}
	opinions := a.recorded()
	if opinions == nil {
		var err error
		if opinions, err = a.answers(ctx, all); err != nil {
			return nil, err
		}
		if err := a.req.Record(ctx, incident.EntryStepRecord, answered{opinions}); err != nil {
			return nil, err
		}
	}
	return opinions, a.sweep(ctx, all)
}

func (a *analyzer) recorded() []opinion {
	for _, raw := range a.req.Recorded(incident.EntryStepRecord) {
		var all answered
		if json.Unmarshal(raw, &all) == nil && len(all.Opinions) > 0 {
			return all.Opinions
		}
	}
	return nil
}

// answers starts the analyses and waits for them. Where the caller may not, or
// AWS can't, that is the answer.
func (a *analyzer) answers(ctx context.Context, all []question) ([]opinion, error) {
	opinions := make([]opinion, len(all))
	started := make(map[string]int) // analysis to opinion
	for i, q := range all {
		opinions[i].Question = q
		id, err := a.start(ctx, q, i)
		var api interface{ ErrorCode() string }
		switch {
		case err == nil:
			started[id] = i
			opinions[i].Failed = fmt.Sprintf("no answer within %s", analysisLimit)
		case ctx.Err() == nil && errors.As(err, &api):
			opinions[i].Failed = err.Error()
		default:
			return nil, err
		}
	}
	if len(started) == 0 {
		return opinions, nil
	}
	deadline := a.req.Clock.Now().Add(analysisLimit)
	for len(started) > 0 && a.req.Clock.Now().Before(deadline) {
		if err := a.req.Clock.Sleep(ctx, lookEvery/3); err != nil {
			return nil, err
		}
		if err := a.collect(ctx, started, opinions); err != nil {
			return nil, err
		}
	}
	return opinions, nil
}

// start makes a path and starts its analysis. The client tokens follow from the
// step's: a repeated request makes no second one.
func (a *analyzer) start(ctx context.Context, q question, n int) (analysis string, err error) {
	in := &ec2.CreateNetworkInsightsPathInput{
		Source: &q.From, Destination: &q.To, Protocol: ec2types.ProtocolTcp, ClientToken: aws.String(fmt.Sprintf("%s-p%d", a.req.Token, n)),
		TagSpecifications: a.tags(ec2types.ResourceTypeNetworkInsightsPath),
	}
	if q.IP != "" {
		in.DestinationIp = &q.IP
	}
	path, err := a.ec2.CreateNetworkInsightsPath(ctx, in)
	if err != nil {
		return "", fmt.Errorf("path %s: %w", q, err)
	}
	a.made = append(a.made, aws.ToString(path.NetworkInsightsPath.NetworkInsightsPathId))
	out, err := a.ec2.StartNetworkInsightsAnalysis(ctx, &ec2.StartNetworkInsightsAnalysisInput{
		NetworkInsightsPathId: path.NetworkInsightsPath.NetworkInsightsPathId, ClientToken: aws.String(fmt.Sprintf("%s-a%d", a.req.Token, n)),
		TagSpecifications: a.tags(ec2types.ResourceTypeNetworkInsightsAnalysis),
	})
	if err != nil {
		return "", fmt.Errorf("analysis %s: %w", q, err)
	}
	return aws.ToString(out.NetworkInsightsAnalysis.NetworkInsightsAnalysisId), nil
}

// collect takes in the analyses that are over.
func (a *analyzer) collect(ctx context.Context, started map[string]int, opinions []opinion) error {
	ids := make([]string, 0, len(started))
	for id := range started {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	out, err := a.ec2.DescribeNetworkInsightsAnalyses(ctx, &ec2.DescribeNetworkInsightsAnalysesInput{NetworkInsightsAnalysisIds: ids})
	if err != nil {
		return fmt.Errorf("analyses %s: %w", strings.Join(ids, ", "), err)
	}
	for _, n := range out.NetworkInsightsAnalyses {
		id := aws.ToString(n.NetworkInsightsAnalysisId)
		i, ok := started[id]
		if !ok || n.Status == ec2types.AnalysisStatusRunning {
			continue
		}
		delete(started, id)
		o := &opinions[i]
		o.Failed, o.Found = "", aws.ToBool(n.NetworkPathFound)
		if n.Status != ec2types.AnalysisStatusSucceeded || n.NetworkPathFound == nil {
			o.Failed = fmt.Sprintf("the analysis %s: %s", n.Status, aws.ToString(n.StatusMessage))
		}
		o.Codes = codes(n)
	}
	return nil
}

// codes are AWS's explanations of what stops a path; of a path that was found,
// the components that it passes.
func codes(n ec2types.NetworkInsightsAnalysis) []string {
	var all []string
	for _, e := range n.Explanations {
		text := aws.ToString(e.ExplanationCode)
		for _, c := range []*ec2types.AnalysisComponent{e.SecurityGroup, e.Acl, e.RouteTable, e.InternetGateway, e.Component} {
			if c != nil && c.Id != nil {
				text += " " + *c.Id
				break
			}
		}
		all = append(all, text)
	}
	for _, p := range n.ForwardPathComponents {
		if p.Component != nil {
			all = append(all, aws.ToString(p.Component.Id))
		}
	}
	return all
}

// sweep deletes what the step has made, in this try or one before it.
func (a *analyzer) sweep(ctx context.Context, all []question) error {
	if len(a.made) == 0 && !a.req.Resumed {
		return nil // who may not make a path has none to delete
	}
	var sources []string
	for _, q := range all {
		sources = append(sources, q.From)
	}
	slices.Sort(sources)
	// A filter by tag is not among those that the API documents.
	pages := ec2.NewDescribeNetworkInsightsPathsPaginator(a.ec2, &ec2.DescribeNetworkInsightsPathsInput{
		Filters: []ec2types.Filter{{Name: aws.String("source"), Values: slices.Compact(sources)}},
	})
	paths := a.made
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if denied(err) {
			break
		}
		if err != nil {
			return fmt.Errorf("paths of the step, to delete them: %w", err)
		}
		for _, p := range page.NetworkInsightsPaths {
			if id := aws.ToString(p.NetworkInsightsPathId); tagOf(p.Tags, insightsToken) == a.req.Token && !slices.Contains(paths, id) {
				paths = append(paths, id)
			}
		}
	}
	var problems []error
	for _, id := range paths {
		problems = append(problems, a.delete(ctx, id))
	}
	return errors.Join(problems...)
}

// delete deletes a path and, before it, its analyses.
func (a *analyzer) delete(ctx context.Context, path string) error {
	return incident.Poll(ctx, a.req.Clock, pause, lag, "path "+path+" to be deleted", func(ctx context.Context) (bool, error) {
		found, err := a.ec2.DescribeNetworkInsightsAnalyses(ctx, &ec2.DescribeNetworkInsightsAnalysesInput{NetworkInsightsPathId: &path})
		if hasCode(err, "InvalidNetworkInsightsPathId.NotFound") {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		for _, n := range found.NetworkInsightsAnalyses {
			_, err := a.ec2.DeleteNetworkInsightsAnalysis(ctx, &ec2.DeleteNetworkInsightsAnalysisInput{NetworkInsightsAnalysisId: n.NetworkInsightsAnalysisId})
			if err != nil && !hasCode(err, "InvalidNetworkInsightsAnalysisId.NotFound") {
				return false, err
			}
		}
		_, err = a.ec2.DeleteNetworkInsightsPath(ctx, &ec2.DeleteNetworkInsightsPathInput{NetworkInsightsPathId: &path})
		if hasCode(err, "AnalysisExistsForNetworkInsightsPath") {
			return false, nil
		}
		if hasCode(err, "InvalidNetworkInsightsPathId.NotFound") {
			return true, nil
		}
		return err == nil, err
	})
}
