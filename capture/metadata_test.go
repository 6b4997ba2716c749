package capture_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/cordon-ir/cordon/internal/evidence"
	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/internal/rehearsal"
)

func TestMetadataShowsWhatTheInstanceIsPartOf(t *testing.T) {
	b := newBench(t)
	r, v := b.run("capture.metadata", false, nil)
	ids := r.Outputs["items"].([]string)
	if len(ids) < 3 || len(v.Observed) != 4 { // the scenario's instance may have no user data
		t.Errorf("items %q, observed %q", ids, v.Observed)
	}
	var doc struct {
		Rehearsal        bool
		Interfaces       []any
		Volumes          []any
		Addresses        []any
		SecurityGroups   []any                   `json:"security_groups"`
		RouteTables      []any                   `json:"route_tables"`
		NetworkACLs      []any                   `json:"network_acls"`
		InstanceProfile  map[string]any          `json:"instance_profile"`
		Roles            []struct{ Name string } `json:"roles"`
		AutoScalingGroup map[string]any          `json:"auto_scaling_group"`
		LaunchTemplate   map[string]any          `json:"launch_template"`
		TargetGroups     []any                   `json:"target_groups"`
		Classic          []any                   `json:"classic_load_balancers"`
		Gaps             []string                `json:"gaps"`
	}
	it := b.item(ids[0])
	raw := b.bytes(it)
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Gaps) != 0 {
		t.Errorf("gaps: %q", doc.Gaps)
	}
	if !doc.Rehearsal || len(doc.Interfaces) != 2 || len(doc.Volumes) != 2 || len(doc.Addresses) != 1 ||
		len(doc.SecurityGroups) == 0 || len(doc.RouteTables) == 0 || len(doc.NetworkACLs) == 0 || doc.InstanceProfile == nil ||
		len(doc.Roles) != 1 || doc.AutoScalingGroup == nil || doc.LaunchTemplate == nil || len(doc.TargetGroups) == 0 || len(doc.Classic) == 0 {
		t.Errorf("something is missing:\n%s", raw)
	}
	if bytes.Contains(raw, []byte(": null")) {
		t.Error("the document holds what AWS did not set")
	}
	if !strings.HasPrefix(it.Key, "rehearsal/INC-1/run-1/") || it.Mode != "GOVERNANCE" || it.RetainUntil.IsZero() || it.Kind != evidence.KindMetadata {
		t.Errorf("item %+v", it)
	}
}

func TestAResumedMetadataStepKeepsWhatWasTakenFirst(t *testing.T) {
	b := newBench(t)
	first, _ := b.run("capture.metadata", false, nil)
	items := len(b.custody.Items)
	second, _ := b.run("capture.metadata", true, nil)
	if string(first.Applied) != string(second.Applied) {
		t.Errorf("first %s, then %s", first.Applied, second.Applied)
	}
	if len(b.custody.Items) != items || len(b.custody.Events) != items {
		t.Errorf("%d items and %d events, where there were %d", len(b.custody.Items), len(b.custody.Events), items)
	}
}

func TestAConsoleThatCannotBeReadIsNotedAndStopsNothing(t *testing.T) {
	b := newBench(t)
	if err := b.account.Deny("ec2:GetConsole*", "iam:*"); err != nil {
		t.Fatal(err)
	}
	r, v := b.run("capture.metadata", false, nil)
	observed := strings.Join(v.Observed, "\n")
	for _, want := range []string{"console not captured", "screenshot not captured", "ec2:GetConsoleScreenshot"} {
		if !strings.Contains(observed, want) {
			t.Errorf("observed %q, without %q", observed, want)
		}
	}
	for _, want := range []string{"console", "screenshot"} {
		notes := b.entries["capture.metadata"][incident.EntryNote]
		if !slices.ContainsFunc(notes, func(n json.RawMessage) bool { return strings.Contains(string(n), want+" not captured") }) {
			t.Errorf("notes %s, without %s", notes, want)
		}
	}
	raw := b.bytes(b.item(r.Outputs["items"].([]string)[0]))
	if !strings.Contains(string(raw), "instance profile and roles: ") {
		t.Error("the document does not name the gap")
	}
}

func TestUserDataIsStoredAndNeverReachesTheJournal(t *testing.T) {
	const script = "#!/bin/sh\nexport DB_PASSWORD=correct-horse-battery\n"
	b := newBench(t)
	b.config = func(cfg aws.Config) aws.Config {
		return answering(cfg, "DescribeInstanceAttribute", func(out any) {
			out.(*ec2.DescribeInstanceAttributeOutput).UserData = &types.AttributeValue{
				Value: aws.String(base64.StdEncoding.EncodeToString([]byte(script))),
			}
		})
	}
	r, v := b.run("capture.metadata", false, nil)
	id := "user-data-" + b.target.Instance + "-01234567"
	if got := b.bytes(b.item(id)); string(got) != script {
		t.Errorf("stored %q", got)
	}
	all, err := json.Marshal([]any{b.entries, r, v})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"correct-horse", base64.StdEncoding.EncodeToString([]byte(script))[:20]} {
		if bytes.Contains(all, []byte(secret)) {
			t.Errorf("the journal holds %q", secret)
		}
	}
}

func TestAStoreThatFailsFailsTheStep(t *testing.T) {
	b := newBench(t)
	b.inject(rehearsal.Fault{Operation: "s3:PutObject", Kind: "error", Code: "AccessDenied", Count: 100})
	if err := b.fails("capture.metadata", false, nil); !strings.Contains(err.Error(), "no permission on bucket") {
		t.Errorf("got %v", err)
	}
}

func TestAScreenshotIsTriedTwiceAndNotWaitedForLonger(t *testing.T) {
	for failed, captured := range map[int]bool{1: true, 2: false} {
		b := newBench(t)
		b.config = atOnce
		b.inject(rehearsal.Fault{Operation: "ec2:GetConsoleScreenshot", Kind: "throttle", Count: failed})
		_, v := b.run("capture.metadata", false, nil)
		if noted := strings.Contains(strings.Join(v.Observed, "\n"), "screenshot not captured"); noted == captured {
			t.Errorf("refused %d times: observed %q", failed, v.Observed)
		}
	}
}

func TestMetadataHoldsTheAccountsOwnPoliciesOfTheRole(t *testing.T) {
	b := newBench(t)
	client := iam.NewFromConfig(b.account.Config(b.target.Region))
	const document = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::example/100% of it/*"}]}`
	made, err := client.CreatePolicy(t.Context(), &iam.CreatePolicyInput{PolicyName: aws.String("reads-the-shop"), PolicyDocument: aws.String(document)})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Roles []struct {
			Name string
			Own  map[string]struct{ Version, Document string } `json:"customer_managed_policies"`
		} `json:"roles"`
		Gaps []string `json:"gaps"`
	}
	roles, err := client.ListRoles(t.Context(), &iam.ListRolesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range roles.Roles { // the instance's is one of them
		_, err := client.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: r.RoleName, PolicyArn: made.Policy.Arn})
		var kept *iamtypes.UnmodifiableEntityException
		if err != nil && !errors.As(err, &kept) {
			t.Fatal(err)
		}
	}
	r, _ := b.run("capture.metadata", false, nil)
	if err := json.Unmarshal(b.bytes(b.item(r.Outputs["items"].([]string)[0])), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Gaps) != 0 || len(doc.Roles) != 1 || len(doc.Roles[0].Own) != 1 {
		t.Fatalf("got %+v", doc)
	}
	if got := doc.Roles[0].Own[*made.Policy.Arn]; got.Version != "v1" || got.Document != document {
		t.Errorf("got %+v", got)
	}
}
