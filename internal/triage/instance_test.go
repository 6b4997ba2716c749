package triage_test

import (
	"testing"

	"github.com/cordon-ir/cordon/internal/triage"
)

func TestASearchFindsEveryWordSomewhere(t *testing.T) {
	text := triage.Instance{
		ID: "i-0b722053402f900e4", Name: "web-1", State: "running", Type: "t3.large", Private: []string{"10.0.1.5"}, Public: []string{"198.51.100.7"},
		IPv6: []string{"2001:db8::5"}, Group: "web", Subnet: "subnet-1", Tags: map[string]string{"Owner": "Shop-Platform", "env": "prod"},
	}.Text()
	for typed, want := range map[string]bool{
		"": true, "  ": true, "0b7220": true, "WEB-1": true, "198.51.100.7": true, "db8::5": true, "owner=shop": true, "env=prod 10.0.1": true,
		"shop t3 running": true, "shop stopped": false, "web-12": false, "prodweb": false, "i-1": false,
	} {
		if got := triage.NewSearch(typed).Finds(text); got != want {
			t.Errorf("%q: found %v", typed, got)
		}
	}
}
