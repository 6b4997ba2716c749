package proof

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	ours   = "111122223333"
	theirs = "999988887777"
)

// room is a model with one endpoint to S3 and one role, whose policies the tests choose.
func roomWith(endpoint, role string) *Model {
	return &Model{
		Account: ours, Region: "eu-west-1", VPC: "vpc-1", DNS: DNS{Off: true},
		Endpoints: []Endpoint{{ID: "vpce-1", Service: "com.amazonaws.eu-west-1.s3", Type: "Gateway", Policy: endpoint}},
		Roles: []Role{{
			ARN: "arn:aws:iam::" + ours + ":role/examiner", Name: "examiner", Inline: map[string]string{"examine": role},
			Trust: `{"Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}`,
		}},
	}
}

var narrow = []Permission{
	{Actions: []string{"s3:GetObject", "s3:GetObjectVersion"}, Resources: []string{"arn:aws:s3:::evidence/case/*"}},
	{Actions: []string{"ebs:List*"}, Resources: []string{"arn:aws:ec2:eu-west-1::snapshot/*"}},
	{Actions: []string{"kms:Decrypt"}, Resources: []string{"arn:aws:kms:eu-west-1:" + ours + ":key/*"}},
}

func waysOf(m *Model, kind string) (reasons []string) {
	d := Declared{Endpoints: []DeclaredEndpoint{{Service: "s3", Why: "the evidence", Allows: narrow}}, Role: narrow}
	for _, w := range Judge(m, d).Undeclared() {
		if w.Kind == kind {
			reasons = append(reasons, w.Reason)
		}
	}
	return reasons
}

const fine = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:GetObject"],"Resource":"arn:aws:s3:::evidence/case/*"}]}`

func TestAnEndpointPolicyAllowsNoMoreThanIsDeclared(t *testing.T) {
	statement := func(s string) string { return `{"Statement":[` + s + `]}` }
	for name, c := range map[string]struct{ policy, want string }{ // want: part of the reason; empty: it passes
		"as declared":             {fine, ""},
		"URL-encoded":             {url.PathEscape(fine), ""},
		"one statement":           {`{"Statement":{"Effect":"Allow","Action":"S3:getobject","Resource":"arn:aws:s3:::evidence/case/disk-*"}}`, ""},
		"something is denied too": {statement(`{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"},` + fine[14:len(fine)-2]), ""},
		"everything":              {statement(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`), "allows * on *"},
		"another bucket too":      {statement(`{"Effect":"Allow","Action":"s3:GetObject","Resource":["arn:aws:s3:::evidence/case/*","arn:aws:s3:::drop/*"]}`), "s3:GetObject on arn:aws:s3:::drop/*"},
		"another case too":        {statement(`{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::evidence/*"}`), "arn:aws:s3:::evidence/*"},
		"every object action":     {statement(`{"Effect":"Allow","Action":"s3:*Object","Resource":"arn:aws:s3:::evidence/case/*"}`), "s3:*Object"},
		"all but an action":       {statement(`{"Effect":"Allow","NotAction":"s3:PutObject","Resource":"arn:aws:s3:::evidence/case/*"}`), "* on"},
		"all but a resource":      {statement(`{"Effect":"Allow","Action":"s3:GetObject","NotResource":"arn:aws:s3:::evidence/case/*"}`), "s3:GetObject on *"},
		"no resource":             {statement(`{"Effect":"Allow","Action":"s3:GetObject"}`), "s3:GetObject on *"},
		"no policy":               {"", "no policy"},
		"cut off":                 {fine[:40], "can't be read"},
		"a Python dictionary":     {`{'Statement': [{'Effect': 'Allow'}]}`, "can't be read"},
		"an effect of its own":    {statement(`{"Effect":"Perhaps","Action":"s3:GetObject","Resource":"arn:aws:s3:::evidence/case/*"}`), "can't be read"},
		"nothing in it":           {`{}`, "can't be read"},
		"anyone's snapshots":      {statement(`{"Effect":"Allow","Principal":"*","Action":"ebs:ListSnapshotBlocks","Resource":"arn:aws:ec2:eu-west-1::snapshot/*"}`), "principals that are not"},
		"snapshots, to the role": {statement(`{"Effect":"Allow","Principal":"*","Action":"ebs:ListSnapshotBlocks","Resource":"arn:aws:ec2:eu-west-1::snapshot/*",
			"Condition":{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::` + ours + `:role/examiner"}}}`), ""},
		"snapshots, to the account": {statement(`{"Effect":"Allow","Principal":{"AWS":"` + ours + `"},"Action":"ebs:ListSnapshotBlocks","Resource":"arn:aws:ec2:eu-west-1::snapshot/*"}`), ""},
		"snapshots, to others too": {statement(`{"Effect":"Allow","Principal":{"AWS":["` + ours + `","` + theirs + `"]},"Action":"ebs:ListSnapshotBlocks","Resource":"arn:aws:ec2:eu-west-1::snapshot/*"}`),
			"principals that are not"},
		"snapshots, to who names himself so": {statement(`{"Effect":"Allow","Principal":"*","Action":"ebs:ListSnapshotBlocks","Resource":"arn:aws:ec2:eu-west-1::snapshot/*",
			"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/examiner"}}}`), "principals that are not"},
		"a condition that holds without the key": {statement(`{"Effect":"Allow","Principal":"*","Action":"ebs:ListSnapshotBlocks","Resource":"arn:aws:ec2:eu-west-1::snapshot/*",
			"Condition":{"StringEqualsIfExists":{"aws:PrincipalAccount":"` + ours + `"}}}`), "principals that are not"},
		"a condition the other way": {statement(`{"Effect":"Allow","Principal":"*","Action":"ebs:ListSnapshotBlocks","Resource":"arn:aws:ec2:eu-west-1::snapshot/*",
			"Condition":{"StringNotEquals":{"aws:PrincipalAccount":"` + ours + `"}}}`), "principals that are not"},
		"a key of this account": {statement(`{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"arn:aws:kms:eu-west-1:` + ours + `:key/1"}`), ""},
		"a key of another account": {statement(`{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"arn:aws:kms:eu-west-1:` + theirs + `:key/1"}`),
			theirs},
	} {
		got := waysOf(roomWith(c.policy, fine), "endpoint")
		if (c.want == "") != (len(got) == 0) || !strings.Contains(strings.Join(got, "\n"), c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestARoleMayDoNoMoreThanIsDeclared(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Role)
		want   string
	}{
		"as declared": {func(*Role) {}, ""},
		"broader": {func(r *Role) {
			r.Inline["more"] = `{"Statement":{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}}`
		}, "more allows s3:PutObject on *"},
		"cut off":          {func(r *Role) { r.Inline["examine"] = `{"Statement":` }, "can't be read"},
		"a managed policy": {func(r *Role) { r.Attached = []string{"arn:aws:iam::aws:policy/ReadOnlyAccess"} }, "ReadOnlyAccess is attached"},
		"anybody's role":   {func(r *Role) { r.Trust = `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}` }, `assumed by "*"`},
		"EC2's and another's": {func(r *Role) {
			r.Trust = `{"Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com","AWS":"` + theirs + `"},"Action":"sts:AssumeRole"}]}`
		}, theirs},
		"a trust policy that is not there": {func(r *Role) { r.Trust = "" }, "can't be read"},
	} {
		m := roomWith(fine, fine)
		c.change(&m.Roles[0])
		got := waysOf(m, "role")
		if (c.want == "") != (len(got) == 0) || !strings.Contains(strings.Join(got, "\n"), c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// What a pattern covers by name it also matches, character by character.
func TestWhatAPatternCoversItMatches(t *testing.T) {
	letters := rapid.StringMatching(`[ab*?]{0,6}`)
	plain := rapid.StringMatching(`[ab]{0,3}`)
	rapid.Check(t, func(t *rapid.T) {
		pattern, s := letters.Draw(t, "pattern"), letters.Draw(t, "s")
		if !covers(pattern, s) {
			return
		}
		// One string that s stands for.
		var concrete strings.Builder
		for _, c := range s {
			switch c {
			case '*':
				concrete.WriteString(plain.Draw(t, "*"))
			case '?':
				concrete.WriteString(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "?"))
			default:
				concrete.WriteRune(c)
			}
		}
		if !covers(pattern, concrete.String()) {
			t.Errorf("%q covers %q, but not %q", pattern, s, concrete.String())
		}
	})
	for _, c := range [][2]string{{"*", ""}, {"a*c", "abc"}, {"?", "a"}, {"s3:*", "s3:Get*"}} {
		if !covers(c[0], c[1]) {
			t.Errorf("%q does not cover %q", c[0], c[1])
		}
	}
	for _, c := range [][2]string{{"", "a"}, {"?", "*"}, {"a?", "a"}, {"s3:Get*", "s3:*"}} {
		if covers(c[0], c[1]) {
			t.Errorf("%q covers %q", c[0], c[1])
		}
	}
}

func TestNothingDriftsBetweenTwoReadingsAndEveryChangeDoes(t *testing.T) {
	m := roomWith(fine, fine)
	before := m.Facts()
	spelled := roomWith(url.PathEscape(fine), strings.ReplaceAll(fine, ",", ", "))
	if d := Compare(before, spelled.Facts()); len(d) != 0 {
		t.Errorf("another spelling of the same policies drifts: %v", d)
	}
	m.Endpoints[0].Policy = ""
	m.Gateways = append(m.Gateways, Gateway{"igw-1", "an Internet gateway"})
	m.Roles = nil
	var got []string
	for _, d := range Compare(before, m.Facts()) {
		got = append(got, d.String())
	}
	for _, want := range []string{"vpce-1 policy: before {", "igw-1 gateway: before nothing, now an Internet gateway", "examiner trust policy: before {"} {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("got %q, without %q", got, want)
		}
	}
}
