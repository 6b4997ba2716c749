package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/spf13/cobra"

	"github.com/cordon-ir/cordon/internal/access"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/problem"
)

// selection says which instances a command is about.
type selection struct {
	instances []string // --instance
	file      string   // --instances-file; -: standard input
	filters   []string // --filter
}

func (s *selection) addFlags(cmd *cobra.Command, instance string) {
	f := cmd.Flags()
	f.StringArrayVar(&s.instances, "instance", nil, instance+"; an ID, or account/region/ID (may be given several times)")
	f.StringVar(&s.file, "instances-file", "", "a file with an instance a line, # begins a comment; -: standard input")
}

func (s *selection) addFilterFlag(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&s.filters, "filter", nil,
		"instances that EC2 finds by NAME=VALUE[,VALUE…]: tag:KEY, "+strings.Join(filterNames, ", ")+" (given several times: all must match)")
}

// filterNames are EC2's filters that say something of an instance that a
// responder knows (EC2 API Reference, "DescribeInstances"), besides tag:KEY.
var filterNames = []string{
	"tag-key", "vpc-id", "subnet-id", "availability-zone", "image-id", "instance.group-id", "iam-instance-profile.arn",
}

var (
	instanceID = regexp.MustCompile(`^i-[0-9a-f]{8,17}$`)
	accountID  = regexp.MustCompile(`^[0-9]{12}$`)
	regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]+$`)
)

// parseInstance reads an instance's ID, or account/region/ID. Account and
// Region are empty where the ID stands alone.
func parseInstance(s string) (incident.Target, error) {
	if instanceID.MatchString(s) {
		return incident.Target{Instance: s}, nil
	}
	t, err := incident.ParseTarget(s)
	if err != nil || !accountID.MatchString(t.Account) || !regionName.MatchString(t.Region) || !instanceID.MatchString(t.Instance) {
		return t, fmt.Errorf("%q: want an instance ID such as i-0123456789abcdef0, or account/region/ID", s)
	}
	return t, nil
}

// named reads --instance and --instances-file, in the order in which instances
// are named there. What is wrong comes all together.
func (s *selection) named(in io.Reader) ([]incident.Target, error) {
	var all []incident.Target
	var problems []error
	for _, text := range s.instances {
		t, err := parseInstance(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("--instance %w", err))
		}
		all = append(all, t)
	}
	fromFile, err := s.fromFile(in)
	if err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return nil, &usageError{errors.Join(problems...)}
	}
	return append(all, fromFile...), nil
}

func (s *selection) fromFile(in io.Reader) ([]incident.Target, error) {
	name := s.file
	switch name {
	case "":
		return nil, nil
	case "-":
		name = "standard input"
	default:
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("--instances-file: %w", err)
		}
		defer f.Close()
		in = f
	}
	targets, err := readInstances(name, in)
	if err == nil && len(targets) == 0 {
		err = fmt.Errorf("--instances-file %s names no instance", name)
	}
	return targets, err
}

// readInstances reads an instance a line. Blank lines and what comes after # are passed over.
func readInstances(name string, in io.Reader) ([]incident.Target, error) {
	report := problem.Report{File: name}
	var targets []incident.Target
	lines := bufio.NewScanner(in)
	n := 0
	for lines.Scan() {
		n++
		text, _, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "\ufeff"), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		t, err := parseInstance(text)
		if err != nil {
			report.Add(n, 1, "%v", err)
		}
		targets = append(targets, t)
	}
	if err := lines.Err(); err != nil {
		report.Add(n+1, 1, "%v", err)
	}
	return targets, report.Err()
}

// once drops what is named a second time, and says so.
func (g *globals) once(named []incident.Target) []incident.Target {
	targets := distinct(named)
	if n := len(named) - len(targets); n > 0 {
		fmt.Fprintf(g.err, "warning: %d instance(s) named more than once count once\n", n)
	}
	return targets
}

func distinct(targets []incident.Target) []incident.Target {
	seen := make(map[incident.Target]bool, len(targets))
	return slices.DeleteFunc(targets, func(t incident.Target) bool {
		twice := seen[t]
		seen[t] = true
		return twice
	})
}

// someOf names the instances, or the first of many.
func someOf(targets []incident.Target) string {
	var ids []string
	for i, t := range targets {
		if i == listed {
			return fmt.Sprintf("%s and %d more", strings.Join(ids, ", "), len(targets)-listed)
		}
		ids = append(ids, t.Instance)
	}
	return strings.Join(ids, ", ")
}

// parseFilters reads the --filter flags as EC2 takes them: filters are joined
// by and, the values of one by or, * and ? are wildcards.
func parseFilters(flags []string) ([]ec2types.Filter, error) {
	var filters []ec2types.Filter
	var problems []error
	seen := make(map[string]bool)
	for _, f := range flags {
		name, values, ok := strings.Cut(f, "=")
		key, isTag := strings.CutPrefix(name, "tag:")
		switch {
		case !ok || values == "" || isTag && key == "":
			problems = append(problems, fmt.Errorf("--filter %q: want NAME=VALUE, such as tag:team=payments", f))
		case !isTag && !slices.Contains(filterNames, name):
			problems = append(problems, fmt.Errorf("--filter %q: there is tag:KEY, %s", f, strings.Join(filterNames, ", ")))
		case seen[name]:
			problems = append(problems, fmt.Errorf("--filter %s is given twice: put its values into one, separated by commas", name))
		}
		seen[name] = true
		filters = append(filters, ec2types.Filter{Name: &name, Values: strings.Split(values, ",")})
	}
	if len(problems) > 0 {
		return nil, &usageError{errors.Join(problems...)}
	}
	return filters, nil
}

// targets resolves the selection. Instances named by ID alone, and filters, are
// of the account and Region that the credentials are for.
func (w *workspace) targets(ctx context.Context, a *access.Access, s selection) ([]incident.Target, error) {
	if len(s.instances) == 0 && s.file == "" && len(s.filters) == 0 {
		return nil, usagef("which instance? Name it with --instance, --filter or --instances-file")
	}
	filters, err := parseFilters(s.filters)
	named, nerr := s.named(w.g.in)
	if err := errors.Join(err, nerr); err != nil {
		return nil, err
	}
	bare := slices.ContainsFunc(named, func(t incident.Target) bool { return t.Account == "" })
	if !bare && len(filters) == 0 {
		return w.g.once(named), nil
	}
	here, err := w.here(ctx, a)
	if err != nil {
		return nil, err
	}
	for i := range named {
		if named[i].Account == "" {
			named[i].Account, named[i].Region = here.Account, here.Region
		}
	}
	named = w.g.once(named)
	if len(filters) == 0 {
		return named, nil
	}
	found, err := w.find(ctx, a, here, filters)
	if err != nil {
		return nil, err
	}
	where := fmt.Sprintf("account %s, Region %s", here.Account, here.Region)
	if len(found) == 0 {
		return nil, incident.WithHint(usagef("no instance in %s matches --filter %s", where, strings.Join(s.filters, " --filter ")),
			"case counts in keys and values; terminated instances don't; --region and --profile say where to look")
	}
	if !w.g.quiet {
		fmt.Fprintf(w.g.err, "--filter %s: %d instance(s) in %s\n", strings.Join(s.filters, " --filter "), len(found), where)
	}
	return distinct(append(named, found...)), nil
}

// find asks EC2. Instances that are terminated, or on the way there, are listed
// for about an hour still (EC2 User Guide, "Instance state changes"): there is
// nothing left of them to isolate.
func (w *workspace) find(ctx context.Context, a *access.Access, here incident.Target, filters []ec2types.Filter) ([]incident.Target, error) {
	cfg, err := a.Config(ctx, here)
	if err != nil {
		return nil, err
	}
	filters = append(filters, ec2types.Filter{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}})
	pages := ec2.NewDescribeInstancesPaginator(ec2.NewFromConfig(cfg), &ec2.DescribeInstancesInput{Filters: filters, MaxResults: aws.Int32(1000)})
	var found []incident.Target
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("looking for instances by --filter: %w", err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				found = append(found, incident.Target{Account: here.Account, Region: here.Region, Instance: aws.ToString(i.InstanceId)})
			}
		}
	}
	slices.SortFunc(found, func(a, b incident.Target) int { return strings.Compare(a.Instance, b.Instance) })
	return found, nil
}
