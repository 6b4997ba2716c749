package conformance

import (
	"strings"
	"testing"
)

func TestADifferenceNeedsARowAndARowNeedsADifference(t *testing.T) {
	found := []difference{
		{"routes", "ec2:CreateRoute", "error", "ok", "RouteAlreadyExists"},
		{"routes", "ec2:DescribeRouteTables", "RouteTables.OwnerId", "", "{account}"},
	}
	refusal := tabled{motoDiffers, "ec2:CreateRoute", "", "ok", "RouteAlreadyExists", "", ""}
	owner := tabled{motoDiffers, "ec2:DescribeRouteTables", "RouteTables.OwnerId", "", "*", "", ""}
	for _, test := range []struct {
		name string
		rows []tabled
		want []string // words of each problem
	}{
		{"all in the table", []tabled{refusal, owner}, nil},
		{"a difference without a row", []tabled{refusal}, []string{"not in the table: routes: ec2:DescribeRouteTables"}},
		{"another code", []tabled{{motoDiffers, "ec2:CreateRoute", "", "ok", "InvalidRoute", "", ""}, owner}, []string{"not in the table", "no difference any more"}},
		{"something is not nothing", []tabled{refusal, {motoDiffers, "ec2:DescribeRouteTables", "RouteTables.OwnerId", "*", "*", "", ""}}, []string{"not in the table", "no difference any more", "no difference any more"}},
		{"one operation of a row is mended", []tabled{{motoDiffers, "ec2:CreateRoute ec2:DeleteRoute", "", "ok", "RouteAlreadyExists", "", ""}, owner}, []string{"no difference any more, remove it from the table: ec2:DeleteRoute"}},
		{"one path of a row is mended", []tabled{refusal, {motoDiffers, "ec2:DescribeRouteTables", "RouteTables.OwnerId RouteTables.Tags.*", "", "*", "", ""}}, []string{"no difference any more, remove it from the table: RouteTables.Tags.*"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			problems, _ := unexplainedDifferences(found, test.rows)
			if len(problems) != len(test.want) {
				t.Fatalf("problems: %q", problems)
			}
			for n, want := range test.want {
				if !strings.Contains(problems[n], want) {
					t.Errorf("problem %q, want %q", problems[n], want)
				}
			}
		})
	}
}

func TestComparingShowsCodesFieldsAndCallsThatHaveNoPair(t *testing.T) {
	moto := []observation{
		{"ec2:A", "", map[string][]string{"Same": {"1"}, "Other": {"1", "2"}}},
		{"ec2:B", "NotFound", nil},
	}
	simulated := []observation{
		{"ec2:A", "", map[string][]string{"Same": {"1"}, "Other": {"2"}}},
		{"ec2:B", "", map[string][]string{}},
		{"ec2:C", "", nil},
	}
	want := []difference{
		{"x", "ec2:A", "Other", "1, 2", "2"},
		{"x", "ec2:B", "error", "NotFound", "ok"},
		{"x", "case", "calls", "2", "3"},
	}
	got := compare("x", moto, simulated)
	if len(got) != len(want) {
		t.Fatalf("differences: %v", got)
	}
	for n := range want {
		if got[n] != want[n] {
			t.Errorf("difference %v, want %v", got[n], want[n])
		}
	}
}

func TestEveryRowNamesItsPage(t *testing.T) {
	for _, r := range append(append([]tabled{}, refusals...), shown...) {
		if !strings.HasPrefix(r.page, "https://docs.aws.amazon.com/") || r.aws == "" || r.operations == "" {
			t.Errorf("row %q %q has no page of AWS's documentation, or does not say what is there", r.operations, r.at)
		}
	}
	for _, m := range mended {
		if !strings.HasPrefix(m.page, "https://docs.aws.amazon.com/") || m.was == "" {
			t.Errorf("mended %q has no page of AWS's documentation", m.operation)
		}
	}
}
