package rehearsal

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// insightsState is VPC Reachability Analyzer.
type insightsState struct {
	Paths    map[string]*insightsPath     `json:"paths,omitempty"`
	Analyses map[string]*insightsAnalysis `json:"analyses,omitempty"`
}

type insightsPath struct {
	ID            string         `json:"id"`
	Source        string         `json:"source"`
	Destination   string         `json:"destination,omitempty"`
	DestinationIP string         `json:"destination_ip,omitempty"`
	Port          *int32         `json:"port,omitempty"`
	Protocol      types.Protocol `json:"protocol"`
	Created       time.Time      `json:"created"`
}

// insightsAnalysis is worked out when it is started, and shown when it is done.
type insightsAnalysis struct {
	ID      string    `json:"id"`
	Path    string    `json:"path"`
	Started time.Time `json:"started"`
	Stops   []stop    `json:"stops,omitempty"` // none: a path was found
}

// analysisTakes is how long an analysis runs; AWS names no time.
const analysisTakes = 20 * time.Second

func (ops operations) ec2Insights() {
	ec2On(ops, ec2CreateNetworkInsightsPath)
	ec2On(ops, ec2DescribeNetworkInsightsPaths)
	ec2On(ops, ec2DeleteNetworkInsightsPath)
	ec2On(ops, ec2StartNetworkInsightsAnalysis)
	ec2On(ops, ec2DescribeNetworkInsightsAnalyses)
	ec2On(ops, ec2DeleteNetworkInsightsAnalysis)
}

// ec2CreateNetworkInsightsPath: API_CreateNetworkInsightsPath.
func ec2CreateNetworkInsightsPath(c *call, in *ec2.CreateNetworkInsightsPathInput) (*ec2.CreateNetworkInsightsPathOutput, error) {
	s := c.ec2()
	made, err := s.once("CreateNetworkInsightsPath", in.ClientToken, in, func() (string, error) {
		if in.Source == nil || in.Protocol == "" {
			return "", apiError("MissingParameter", "The request must contain the parameters Source and Protocol")
		}
		if in.Destination == nil && in.DestinationIp == nil {
			return "", apiError("MissingParameter", "The request must contain the parameter Destination or DestinationIp")
		}
		for _, end := range []*string{in.Source, in.Destination} {
			if k, exists := s.kindOf(aws.ToString(end)); end != nil && k.prefix != "" && !exists {
				return "", k.missing(*end)
			}
		}
		tags, err := tagsFor(types.ResourceTypeNetworkInsightsPath, in.TagSpecifications)
		if err != nil {
			return "", err
		}
		p := &insightsPath{
			ID: c.id("nip"), Source: *in.Source, Destination: aws.ToString(in.Destination), DestinationIP: aws.ToString(in.DestinationIp),
			Port: in.DestinationPort, Protocol: in.Protocol, Created: c.Now,
		}
		put(&s.Insights.Paths, p.ID, p)
		c.tag(p.ID, tags)
		return p.ID, nil
	})
	if err != nil {
		return nil, err
	}
	p, err := get(kindInsights, s.Insights.Paths, &made)
	if err != nil {
		return nil, err
	}
	shown := c.showInsightsPath(p)
	return &ec2.CreateNetworkInsightsPathOutput{NetworkInsightsPath: &shown}, nil
}

func (c *call) showInsightsPath(p *insightsPath) types.NetworkInsightsPath {
	return types.NetworkInsightsPath{
		NetworkInsightsPathId: &p.ID, NetworkInsightsPathArn: aws.String(c.arn("network-insights-path", p.ID)), CreatedDate: &p.Created,
		Source: &p.Source, Destination: nilIfEmpty(p.Destination), DestinationIp: nilIfEmpty(p.DestinationIP), DestinationPort: p.Port,
		Protocol: p.Protocol, Tags: c.tagList(p.ID),
	}
}

// ec2DescribeNetworkInsightsPaths: API_DescribeNetworkInsightsPaths.
func ec2DescribeNetworkInsightsPaths(c *call, in *ec2.DescribeNetworkInsightsPathsInput) (*ec2.DescribeNetworkInsightsPathsOutput, error) {
	q := listing{query{in.NetworkInsightsPathIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindInsights, c.ec2().Insights.Paths, q, func(p *insightsPath, name string) ([]string, bool) {
		switch name {
		case "source":
			return one(p.Source), true
		case "destination":
			return one(p.Destination), true
		case "protocol":
			return one(string(p.Protocol)), true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeNetworkInsightsPathsOutput{NetworkInsightsPaths: each(found, c.showInsightsPath), NextToken: next}, nil
}

// ec2DeleteNetworkInsightsPath: API_DeleteNetworkInsightsPath. Its analyses have to go first.
func ec2DeleteNetworkInsightsPath(c *call, in *ec2.DeleteNetworkInsightsPathInput) (*ec2.DeleteNetworkInsightsPathOutput, error) {
	s := c.ec2()
	p, err := get(kindInsights, s.Insights.Paths, in.NetworkInsightsPathId)
	if err != nil {
		return nil, err
	}
	for _, a := range s.Insights.Analyses {
		if a.Path == p.ID {
			return nil, apiError("AnalysisExistsForNetworkInsightsPath", fmt.Sprintf("Network insights path %s has analyses", p.ID))
		}
	}
	deleteWhere(s, s.Insights.Paths, func(o *insightsPath) bool { return o == p })
	return &ec2.DeleteNetworkInsightsPathOutput{NetworkInsightsPathId: in.NetworkInsightsPathId}, nil
}

// ec2StartNetworkInsightsAnalysis: API_StartNetworkInsightsAnalysis.
func ec2StartNetworkInsightsAnalysis(c *call, in *ec2.StartNetworkInsightsAnalysisInput) (*ec2.StartNetworkInsightsAnalysisOutput, error) {
	s := c.ec2()
	made, err := s.once("StartNetworkInsightsAnalysis", in.ClientToken, in, func() (string, error) {
		p, err := get(kindInsights, s.Insights.Paths, in.NetworkInsightsPathId)
		if err != nil {
			return "", err
		}
		tags, err := tagsFor(types.ResourceTypeNetworkInsightsAnalysis, in.TagSpecifications)
		if err != nil {
			return "", err
		}
		a := &insightsAnalysis{ID: c.id("nia"), Path: p.ID, Started: c.Now, Stops: s.analyse(p)}
		put(&s.Insights.Analyses, a.ID, a)
		c.tag(a.ID, tags)
		return a.ID, nil
	})
	if err != nil {
		return nil, err
	}
	a, err := get(kindAnalysis, s.Insights.Analyses, &made)
	if err != nil {
		return nil, err
	}
	shown := c.showAnalysis(a)
	return &ec2.StartNetworkInsightsAnalysisOutput{NetworkInsightsAnalysis: &shown}, nil
}

func (a *insightsAnalysis) status(now time.Time) types.AnalysisStatus {
	if now.Before(a.Started.Add(analysisTakes)) {
		return types.AnalysisStatusRunning
	}
	return types.AnalysisStatusSucceeded
}

func (c *call) showAnalysis(a *insightsAnalysis) types.NetworkInsightsAnalysis {
	out := types.NetworkInsightsAnalysis{
		NetworkInsightsAnalysisId: &a.ID, NetworkInsightsAnalysisArn: aws.String(c.arn("network-insights-analysis", a.ID)), NetworkInsightsPathId: &a.Path,
		StartDate: &a.Started, Status: a.status(c.Now), Tags: c.tagList(a.ID),
	}
	if out.Status == types.AnalysisStatusRunning {
		return out
	}
	out.NetworkPathFound = aws.Bool(len(a.Stops) == 0)
	for _, s := range a.Stops {
		out.Explanations = append(out.Explanations, s.show())
	}
	return out
}

// ec2DescribeNetworkInsightsAnalyses: API_DescribeNetworkInsightsAnalyses.
func ec2DescribeNetworkInsightsAnalyses(c *call, in *ec2.DescribeNetworkInsightsAnalysesInput) (*ec2.DescribeNetworkInsightsAnalysesOutput, error) {
	q := listing{query{in.NetworkInsightsAnalysisIds, in.Filters}, in.MaxResults, in.NextToken}
	found, next, err := describe(c, kindAnalysis, c.ec2().Insights.Analyses, q, func(a *insightsAnalysis, name string) ([]string, bool) {
		switch name {
		case "status":
			return one(string(a.status(c.Now))), true
		case "path-found":
			return yes(len(a.Stops) == 0), true
		}
		return nil, false
	})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeNetworkInsightsAnalysesOutput{NextToken: next}
	for _, a := range found {
		if in.NetworkInsightsPathId == nil || a.Path == *in.NetworkInsightsPathId {
			out.NetworkInsightsAnalyses = append(out.NetworkInsightsAnalyses, c.showAnalysis(a))
		}
	}
	return out, nil
}

// ec2DeleteNetworkInsightsAnalysis: API_DeleteNetworkInsightsAnalysis.
func ec2DeleteNetworkInsightsAnalysis(c *call, in *ec2.DeleteNetworkInsightsAnalysisInput) (*ec2.DeleteNetworkInsightsAnalysisOutput, error) {
	s := c.ec2()
	a, err := get(kindAnalysis, s.Insights.Analyses, in.NetworkInsightsAnalysisId)
	if err != nil {
		return nil, err
	}
	deleteWhere(s, s.Insights.Analyses, func(o *insightsAnalysis) bool { return o == a })
	return &ec2.DeleteNetworkInsightsAnalysisOutput{NetworkInsightsAnalysisId: in.NetworkInsightsAnalysisId}, nil
}

// stop is what keeps a packet from its destination; the codes are those of the
// Reachability Analyzer Guide, "Explanation codes".
type stop struct {
	Code      string `json:"code"`
	Component string `json:"component"` // ID
	Egress    bool   `json:"egress,omitempty"`
}

func (s stop) show() types.Explanation {
	direction := "ingress"
	if s.Egress {
		direction = "egress"
	}
	at := &types.AnalysisComponent{Id: aws.String(s.Component)}
	out := types.Explanation{ExplanationCode: aws.String(s.Code), Direction: &direction}
	switch prefix, _, _ := strings.Cut(s.Component, "-"); prefix {
	case "sg":
		out.SecurityGroup = at
	case "acl":
		out.Acl = at
	case "rtb":
		out.RouteTable = at
	case "igw":
		out.InternetGateway = at
	default:
		out.Component = at
	}
	return out
}
