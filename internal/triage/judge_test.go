package triage_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/internal/triage"
)

func TestEveryPointHasItsReason(t *testing.T) {
	many := make([]string, 41)
	for name, c := range map[string]struct {
		report triage.Report
		points int
		says   string
	}{
		"production":           {triage.Report{Environment: "Prod"}, 2, "environment Prod by tag"},
		"not production":       {triage.Report{Environment: "dev"}, 0, "environment dev by tag"},
		"a word unknown":       {triage.Report{Criticality: "purple"}, 0, "not a word that counts here"},
		"no tags":              {triage.Report{}, 0, "no tag says who owns it"},
		"critical":             {triage.Report{Criticality: "critical"}, 3, "criticality critical"},
		"confidential":         {triage.Report{Classification: "confidential"}, 2, "classification confidential"},
		"a role of many":       {triage.Report{Role: &triage.Role{Name: "app", Shared: many}}, 2, "shares role app with 41 instances"},
		"a role of few":        {triage.Report{Role: &triage.Role{Name: "app", Shared: many[:1]}}, 1, "shares role app with 1 instance"},
		"an administrator":     {triage.Report{Role: &triage.Role{Name: "ci", Policies: []string{"AdministratorAccess"}}}, 3, "role ci has AdministratorAccess"},
		"the last one serving": {triage.Report{Balancers: []triage.Balancer{{Kind: "classic", Name: "shop", Others: 2}}}, 3, "behind classic load balancer shop, with 0 healthy"},
		"one other left":       {triage.Report{Balancers: []triage.Balancer{{Name: "web", Healthy: 5}, {Name: "admin", Healthy: 1}}}, 2, "target group admin, with 1 healthy"},
		"many left":            {triage.Report{Balancers: []triage.Balancer{{Name: "web", Healthy: 5}}}, 1, "with 5 healthy"},
		"behind a public one":  {triage.Report{Balancers: []triage.Balancer{{Name: "web", Healthy: 5, Balances: []string{"shop"}, Public: true}}}, 2, "through load balancer shop"},
		"no replacement":       {triage.Report{Scaling: &triage.Scaling{Obstacles: []string{"the image is gone"}}}, 2, "the image is gone"},
		"a way for others":     {triage.Report{Routes: []triage.RoutedThere{{Table: "rtb-1"}}}, 2, "1 route(s) lead through it"},
		"SSH from anywhere":    {triage.Report{Rules: []triage.Rule{{Protocol: "tcp", From: 20, To: 25, Source: "0.0.0.0/0", Internet: true}}}, 2, "remote administration: tcp 20-25 from 0.0.0.0/0"},
		"SSH from inside":      {triage.Report{Rules: []triage.Rule{{Protocol: "tcp", From: 22, To: 22, Source: "10.0.0.0/8"}}}, 0, ""},
		"a web server":         {triage.Report{Rules: []triage.Rule{{Protocol: "tcp", From: 443, To: 443, Source: "::/0", Internet: true}}}, 1, "tcp 443 from ::/0"},
		"other networks":       {triage.Report{Paths: []triage.Path{{Kind: "transit-gateway", Path: "tgw-1", Out: true}, {Kind: "nat-gateway", Out: true}}}, 1, "other networks: tgw-1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.report
			r.Judge()
			sum, text := 0, ""
			for _, why := range r.Impact.Reasons {
				sum += why.Points
				text += why.Text + "\n"
			}
			if r.Impact.Points != c.points || sum != c.points || !strings.Contains(text, c.says) {
				t.Errorf("%d points, want %d:\n%s", r.Impact.Points, c.points, text)
			}
		})
	}
}

func TestMorePointsAreNoLowerLevel(t *testing.T) {
	var levels []string
	for n := range 15 {
		r := triage.Report{Routes: make([]triage.RoutedThere, 1)}
		r.Criticality = []string{"low", "medium", "high", "critical"}[min(n, 3)]
		if n > 3 {
			r.Classification = "restricted"
		}
		if n > 6 {
			r.Role = &triage.Role{Policies: []string{"AdministratorAccess"}}
		}
		r.Judge()
		levels = append(levels, fmt.Sprint(r.Impact.Level))
	}
	if got := slices.Compact(levels); !slices.Equal(got, []string{"low", "medium", "high", "critical"}) {
		t.Errorf("levels as points grow: %v", got)
	}
}

func TestWhatACutBreaksIsSaidOfEachThing(t *testing.T) {
	r := triage.Report{
		Instance:  triage.Instance{ID: "i-1", Public: []string{"198.51.100.7"}},
		Balancers: []triage.Balancer{{Kind: "classic", Name: "shop", Others: 2}, {Kind: "target-group", Name: "web", Balances: []string{"lb"}, Healthy: 1, Others: 2}, {Name: "lone"}},
		Scaling:   &triage.Scaling{Group: "web", Desired: 2, Min: 2, Max: 4},
		Role:      &triage.Role{Name: "app", Shared: []string{"i-2", "i-3", "i-4", "i-5"}},
		Routes:    []triage.RoutedThere{{Table: "rtb-1", Destination: "10.9.0.0/16", Subnets: []string{"subnet-9"}}},
		Neighbours: []triage.Neighbours{
			{Subnet: "subnet-1", Instances: []string{"i-2"}}, {Subnet: "subnet-2"},
		},
	}
	r.Judge()
	want := []string{
		"classic load balancer shop has no other healthy target (of 2): what it serves fails until one is healthy",
		"target group web of load balancer lb is left with 1 healthy target(s) (of 2)",
		"target group lone has no other target: what it serves fails until there is one",
		"Auto Scaling group web (desired 2, min 2, max 4) launches a replacement; nothing is known that speaks against it",
		"group web can't do with one less (strategies shrink, standby): its minimum is 2",
		"route table rtb-1 sends 10.9.0.0/16 through it: subnet-9 lose that way",
		"198.51.100.7 no longer answers",
		"denying role app as a whole (credentials_scope: role) hits i-2, i-3, i-4 and 1 more too; denying this instance's sessions does not",
		"cutting all of subnet-1 (network_strategy: subnet-acl) cuts 1 other instance(s) too; the other measures do not",
	}
	if !slices.Equal(r.Breaks, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(r.Breaks, "\n"), strings.Join(want, "\n"))
	}
}
