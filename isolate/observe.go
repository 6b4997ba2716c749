package isolate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	// longestWatch bounds the wait for flow logs; with an aggregation interval of
	// ten minutes the first record that proves something comes after about 25.
	longestWatch = 45 * time.Minute
	// flowsShown bounds the list of flows in an outcome; the rest is counted.
	flowsShown = 20
)

// observation looks, after the cut, at what still passes: at the traffic that VPC flow
// logs have recorded, and at the configuration through VPC Reachability Analyzer. It changes nothing of the target's.
type observation struct{ configs configs }

// Spec of isolate.observe.
func (a *observation) Spec() incident.Spec {
	return incident.Spec{
		Name:    "isolate.observe",
		Summary: "Watch VPC flow logs for traffic that still passes after the cut, and ask VPC Reachability Analyzer for a second opinion",
		Impact:  incident.Additive,
		Inputs: []incident.Field{
			{Name: "since", Type: incident.String, Required: true, Late: true, Description: "when the network was cut (RFC 3339): cut_at of isolate.network"},
			{Name: "cut", Type: incident.Strings, Late: true, Default: []string{}, Description: "the paths that were said to be cut: traffic that arrives on one of them fails the step"},
			{Name: "open", Type: incident.Strings, Late: true, Default: []string{}, Description: "the paths that were said to live on"},
			{Name: "watch", Type: incident.String, Default: "10m", Description: "how long after the cut to watch (90s, 10m, or minutes), at most 45m; 0: look once. Flow logs arrive about five minutes late"},
			{Name: "reachability_analyzer", Type: incident.Boolean, Default: true, Description: "ask VPC Reachability Analyzer as well, where that is permitted; each analysis costs USD 0.10"},
			{Name: "max_analyses", Type: incident.Integer, Default: 8, Description: "how many analyses at most"},
		},
		Outputs: []incident.Field{
			{Name: "analyses", Type: incident.Integer, Description: "how many analyses were answered"},
		},
		Permissions: []string{
			"ec2:CreateNetworkInsightsPath", "ec2:CreateTags", "ec2:DeleteNetworkInsightsAnalysis", "ec2:DeleteNetworkInsightsPath",
			"ec2:DescribeFlowLogs", "ec2:DescribeInstances", "ec2:DescribeInternetGateways", "ec2:DescribeNetworkInsightsAnalyses",
			"ec2:DescribeNetworkInsightsPaths", "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables", "ec2:StartNetworkInsightsAnalysis",
			"logs:FilterLogEvents", "s3:GetObject", "s3:ListBucket",
			// Reachability Analyzer's own ("Required API permissions for Reachability Analyzer").
			"tiros:CreateQuery", "tiros:GetQueryAnswer", "tiros:GetQueryExplanation",
		},
		Example: "- id: observe\n  action: isolate.observe\n  needs: [network]\n  on_failure: continue\n  with:\n    since: ${{ steps.network.outputs.cut_at }}\n",
		Timeout: longestWatch + 15*time.Minute,
	}
}

type observeInputs struct {
	Since    string   `json:"since"`
	Cut      []string `json:"cut"`
	Open     []string `json:"open"`
	Watch    string   `json:"watch"`
	Analyzer bool     `json:"reachability_analyzer"`
	Most     int      `json:"max_analyses"`

	since time.Time
	watch time.Duration
}

func observeInputsOf(req incident.Request) (in observeInputs, err error) {
	if err := req.Decode(&in); err != nil {
		return in, err
	}
	in.since, err = time.Parse(time.RFC3339, in.Since)
	if _, given := req.Inputs["since"]; given && err != nil { // it is late: while planning it is not known
		return in, &incident.RefusedError{Reason: fmt.Sprintf("since: %q is no time as in RFC 3339", in.Since)}
	}
	if in.watch, err = time.ParseDuration(in.Watch); err != nil {
		minutes, notMinutes := strconv.Atoi(in.Watch)
		if notMinutes != nil {
			return in, &incident.RefusedError{Reason: fmt.Sprintf("watch: %q is neither a duration (90s, 10m) nor a number of minutes", in.Watch)}
		}
		in.watch = time.Duration(minutes) * time.Minute
	}
	if in.watch < 0 || in.watch > longestWatch {
		return in, &incident.RefusedError{Reason: fmt.Sprintf("watch: %s is not between 0 and %s", in.watch, longestWatch)}
	}
	if in.Most < 0 {
		return in, &incident.RefusedError{Reason: fmt.Sprintf("max_analyses: %d is less than 0", in.Most)}
	}
	return in, nil
}

// lookout is the plan: who can be asked what.
type lookout struct {
	NICs      []nic      `json:"interfaces"`
	Witnesses []witness  `json:"flow_logs"`
	Questions []question `json:"analyses"`
}

// Plan finds the flow logs, and names the analyses and what they cost.
func (a *observation) Plan(ctx context.Context, req incident.Request) (incident.Proposal, error) {
	p := incident.Proposal{Changes: []incident.Change{}}
	in, err := observeInputsOf(req)
	if err != nil {
		return p, err
	}
	cfg, err := a.configs.open(ctx, req.Target)
	if err != nil {
		return p, err
	}
	client := ec2.NewFromConfig(cfg)
	var l lookout
	if l.NICs, err = nicsOf(ctx, client, req.Target); err != nil {
		return p, err
	}
	l.Witnesses, err = findWitnesses(ctx, client, req.Target, l.NICs)
	switch {
	case denied(err):
		p.Notes = append(p.Notes, fmt.Sprintf("flow logs are not looked at: %v", err))
	case err != nil:
		return p, err
	default:
		p.Notes = append(p.Notes, l.notes()...)
	}
	if in.Analyzer {
		if l.Questions, err = questions(ctx, client, l.NICs); err != nil && !denied(err) {
			return p, err
		}
		p.Notes = append(p.Notes, a.bound(&l, in.Most)...)
	}
	for _, q := range l.Questions {
		p.Changes = append(p.Changes, incident.Change{
			Resource: q.NIC.name(), What: "reachability analysis", Before: "none", After: q.String() + ", deleted when it has answered",
		})
	}
	p.Residual = []incident.Exposure{unseen}
	if len(p.Changes) > 0 {
		p.Impact = incident.Additive
	}
	p.Before, err = record(l)
	return p, err
}

// notes say of each interface which flow logs will be read.
func (l lookout) notes() []string {
	var all []string
	for _, n := range l.NICs {
		covered := false
		for _, w := range l.Witnesses {
			if w.NIC.ID == n.ID {
				covered = true
				all = append(all, w.name()+": "+cmp.Or(w.Silent, "it is read, about five minutes after the traffic"))
			}
		}
		if !covered {
			all = append(all, "no flow log covers "+n.name()+": its traffic will not be observed")
		}
	}
	return all
}

// bound drops analyses beyond the limit, and says so and what the rest costs.
func (a *observation) bound(l *lookout, most int) (notes []string) {
	if n := len(l.Questions); n > most {
		var dropped []string
		for _, q := range l.Questions[most:] {
			dropped = append(dropped, q.String())
		}
		notes = append(notes, fmt.Sprintf("%d of %d analyses are left out (max_analyses): %s", n-most, n, strings.Join(dropped, "; ")))
		l.Questions = l.Questions[:most]
	}
	if n := len(l.Questions); n > 0 {
		notes = append(notes, fmt.Sprintf("%d analyses by VPC Reachability Analyzer cost USD %.2f (Amazon VPC pricing); they look at the configuration for TCP over IPv4, not at traffic, nor at connections that are tracked",
			n, float64(n)*analysisPrice))
	}
	return notes
}

// nicsOf are the instance's interfaces, by device index.
func nicsOf(ctx context.Context, client *ec2.Client, t incident.Target) ([]nic, error) {
	if _, err := describe(ctx, client, t); err != nil {
		return nil, err
	}
	var all []nic
	pages := ec2.NewDescribeNetworkInterfacesPaginator(client, &ec2.DescribeNetworkInterfacesInput{
		Filters: []ec2types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{t.Instance}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("network interfaces of %s: %w", t.Instance, err)
		}
		for _, n := range page.NetworkInterfaces {
			all = append(all, nicOf(n))
		}
	}
	slices.SortFunc(all, func(a, b nic) int { return int(a.Device - b.Device) })
	return all, nil
}

// denied: the caller may not do this. What it would have shown is not known then.
func denied(err error) bool {
	return hasCode(err, "UnauthorizedOperation", "AccessDenied", "AccessDeniedException")
}

// Apply asks the analyzer, and deletes what that has made.
func (a *observation) Apply(ctx context.Context, req incident.Request, p incident.Proposal) (incident.Result, error) {
	l, err := recall[lookout](p.Before)
	if err != nil {
		return incident.Result{}, err
	}
	cfg, err := a.configs.open(ctx, req.Target)
	if err != nil {
		return incident.Result{}, err
	}
	asked := &analyzer{ec2: ec2.NewFromConfig(cfg), req: req}
	opinions, err := asked.ask(ctx, l.Questions)
	if err != nil {
		return incident.Result{}, fmt.Errorf("VPC Reachability Analyzer: %w", err)
	}
	answered := 0
	for _, o := range opinions {
		if o.Failed == "" {
			answered++
		}
	}
	applied, err := json.Marshal(opinions)
	return incident.Result{Applied: applied, Outputs: map[string]any{"analyses": answered}}, err
}

// Verify watches the flow logs until each has shown a minute of the time after
// the cut, or the time is over. It fails with *incident.NotVerifiedError where something
// arrives at the instance on a path that was said to be cut.
func (a *observation) Verify(ctx context.Context, req incident.Request, p incident.Proposal, r incident.Result) (incident.Verification, error) {
	var v incident.Verification
	in, err := observeInputsOf(req)
	if err != nil {
		return v, err
	}
	l, err := recall[lookout](p.Before)
	if err != nil {
		return v, err
	}
	opinions, err := recall[[]opinion](r.Applied)
	if err != nil {
		return v, err
	}
	cfg, err := a.configs.open(ctx, req.Target)
	if err != nil {
		return v, err
	}
	deadline := in.since.Add(in.watch)
	if skew := a.skew(ctx, ec2.NewFromConfig(cfg), req); skew != 0 {
		in.since = in.since.Add(skew)
		v.Observed = append(v.Observed, fmt.Sprintf("AWS's clock is %s ahead of this workstation's: by AWS's clock the cut was at %s", skew, stamp(in.since)))
	}
	c := conclusion{cut: claims(in.Cut), open: claims(in.Open), v: &v}
	heard, err := watch(ctx, req, in, deadline, l.Witnesses, readers{cloudwatchlogs.NewFromConfig(cfg), newArchive(cfg, l.Witnesses)}, c)
	if err != nil {
		return v, err
	}
	for _, t := range heard {
		v.Observed = append(v.Observed, t.words(in.since, req.Clock.Now())...)
	}
	for _, n := range l.NICs {
		if !slices.ContainsFunc(l.Witnesses, func(w witness) bool { return w.NIC.ID == n.ID }) {
			v.Observed = append(v.Observed, fmt.Sprintf("no flow log covers %s: its traffic was not observed", n.name()))
		}
	}
	c.opinions(opinions)
	failure := c.flows(heard)
	v.Residual = append(v.Residual, unseen)
	return v, failure
}

// tolerable is a difference between two clocks that changes nothing here.
const tolerable = 3 * time.Second

// skew is how far AWS's clock is ahead of the one that the time of the cut was
// read from; zero where it is not known. Flow logs have AWS's time, in seconds as its Date header.
func (a *observation) skew(ctx context.Context, client *ec2.Client, req incident.Request) time.Duration {
	out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{
		Filters: []ec2types.Filter{{Name: aws.String("instance-id"), Values: []string{req.Target.Instance}}},
	})
	if err != nil {
		return 0
	}
	theirs, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
	if skew := theirs.Sub(req.Clock.Now()).Round(time.Second); ok && skew.Abs() > tolerable {
		return skew
	}
	return 0
}

// watch reads the flow logs again and again. A flow that fails the step ends the wait.
func watch(ctx context.Context, req incident.Request, in observeInputs, deadline time.Time, witnesses []witness, from readers, c conclusion) ([]testimony, error) {
	for {
		heard := make([]testimony, 0, len(witnesses))
		settled := true
		for _, w := range witnesses {
			t, err := from.read(ctx, w, in.since, req.Clock.Now())
			if err != nil {
				return nil, err
			}
			heard = append(heard, t)
			settled = settled && t.settled(in.since)
			for _, f := range t.Accepted {
				if c.broken(f) != nil {
					return heard, nil
				}
			}
		}
		if settled || !req.Clock.Now().Before(deadline) {
			return heard, nil
		}
		if err := req.Clock.Sleep(ctx, lookEvery); err != nil {
			return nil, err
		}
	}
}
