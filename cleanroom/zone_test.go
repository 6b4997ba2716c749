package cleanroom

import (
	"errors"
	"strings"
	"testing"

	"github.com/cordon-ir/cordon/internal/incident"
)

func TestTheZoneIsOneThatHasEverything(t *testing.T) {
	const region, a, b, c, local = "us-west-2", "us-west-2a", "us-west-2b", "us-west-2c", "us-west-2-lax-1a"
	needs := func(offered, ebs []string) []supply {
		return []supply{{"t3.large", offered}, {"endpoints of ssm", []string{c, b, a, local}}, {"endpoints of ebs", ebs}}
	}
	all := []string{local, a, b, c}
	for name, test := range map[string]struct {
		asked       string
		needs       []supply
		zone, words string // of the reason, or of the refusal where zone is empty
	}{
		"the first":                   {"", needs(all, all), a, "the first that has t3.large, endpoints of ssm, endpoints of ebs"},
		"the type in one only":        {"", needs([]string{c}, all), c, "us-west-2a has no t3.large; us-west-2b has no t3.large"},
		"what both have":              {"", needs([]string{a, b}, []string{b, c}), b, "us-west-2c has no t3.large"},
		"asked for":                   {b, needs(all, all), b, "as asked for"},
		"asked for, a Local Zone":     {local, needs(all, all), local, "as asked for"},
		"asked for, the Local Zone":   {local, needs([]string{local}, []string{local}), local, "as asked for"},
		"asked for, without a type":   {b, needs([]string{a, c}, all), "", "input zone: us-west-2b has no t3.large; what the room needs is in us-west-2a, us-west-2c"},
		"asked for, there is no such": {"us-east-1a", needs(all, all), "", "us-east-1a has no t3.large, no endpoints of ssm, no endpoints of ebs"},
		"the type nowhere":            {"", needs(nil, all), "", "no Availability Zone of us-west-2 has t3.large"},
		"the type nowhere, asked for": {a, needs(nil, all), "", "no Availability Zone of us-west-2 has t3.large"},
		"in no zone both":             {"", needs([]string{a}, []string{b}), "", "us-west-2a has no endpoints of ebs; us-west-2b has no t3.large"},
		"in no zone both, asked for":  {a, needs([]string{a}, []string{b}), "", "has all that the room needs: us-west-2-lax-1a has no t3.large, no endpoints of ebs; us-west-2a has no endpoints of ebs"},
		"in a Local Zone only":        {"", needs([]string{local}, []string{local}), "", "no Availability Zone of us-west-2 has all that the room needs"},
	} {
		t.Run(name, func(t *testing.T) {
			zone, why, err := chooseZone(region, test.asked, test.needs)
			if err != nil {
				why = err.Error()
			}
			var refused *incident.RefusedError
			if zone != test.zone || !strings.Contains(why, test.words) || errors.As(err, &refused) != (test.zone == "") {
				t.Errorf("%q, %s (%v); want %q, %s", zone, why, err, test.zone, test.words)
			}
		})
	}
}
