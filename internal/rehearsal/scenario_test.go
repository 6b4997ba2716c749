package rehearsal

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

func TestTheScenarioBeginsWhole(t *testing.T) {
	s := newShop(t)
	o := s.Overview()
	if !o.Whole() || len(o.Instances) != 3 || len(o.Groups) != 1 || o.Groups[0] != (GroupOverview{Name: "web", Min: 2, Max: 4, Desired: 3, Healthy: 3}) {
		t.Errorf("not whole:\n%s", o)
	}
	out, err := s.ec2.DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{s.suspect}})
	s.must(err)
	i := out.Reservations[0].Instances[0]
	if len(i.NetworkInterfaces) != 2 || len(i.BlockDeviceMappings) != 2 || i.PublicIpAddress == nil || i.IamInstanceProfile == nil {
		t.Errorf("the suspect has %d interfaces, %d volumes, address %v, profile %v", len(i.NetworkInterfaces), len(i.BlockDeviceMappings), i.PublicIpAddress, i.IamInstanceProfile)
	}
	tags := make(map[string]bool)
	for _, tag := range i.Tags {
		tags[*tag.Key] = true
	}
	for _, key := range []string{"owner", "queue", "data-classification", "criticality"} {
		if !tags[key] {
			t.Errorf("the suspect has no tag %s", key)
		}
	}
}

func TestTheSameSeedGivesTheSameAccount(t *testing.T) {
	state := func(seed int64) []byte {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "account")
		a, err := Create(dir, "web-tier", seed)
		if err != nil {
			t.Fatal(err)
		}
		shop := shopIn(t, a)
		shop.must(shop.detach(false))
		shop.wait(5 * time.Minute)
		if !a.Overview().Whole() {
			t.Error("not whole")
		}
		b, err := os.ReadFile(filepath.Join(dir, stateFile))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	one, other := state(7), state(8)
	if bytes.Equal(one, other) {
		t.Error("another seed gives the same account")
	}
	if again := state(7); withoutRequests(one) != withoutRequests(again) {
		t.Error("the same seed gives another account")
	}
}

// withoutRequests leaves out request IDs: they are random, as a client's token is.
func withoutRequests(state []byte) string {
	parts := strings.Split(string(state), `"request":"`)
	for i := range parts[1:] {
		parts[i+1] = parts[i+1][len("00000000-0000-0000-0000-000000000000"):]
	}
	return strings.Join(parts, "")
}

func TestTwoProcessesSeeTheSameWorld(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "account")
	a, err := Create(dir, "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	first, second := shopIn(t, a), shopIn(t, b)
	first.must(first.detach(false))
	if got := second.lifecycle(); got != "Detaching" {
		t.Errorf("the second process sees %q", got)
	}
	second.wait(3 * time.Minute)
	if got := first.lifecycle(); got != "" {
		t.Errorf("the first process sees %q", got)
	}
	if one, other := a.Overview(), b.Overview(); one.String() != other.String() || !one.Whole() {
		t.Errorf("they differ:\n%s%s", one, other)
	}
	if a.Alert() != b.Alert() || b.Alert().Instance == "" {
		t.Errorf("alerts: %+v, %+v", a.Alert(), b.Alert())
	}
}

func TestCreateRefusesWhatItCannotMake(t *testing.T) {
	if _, err := Create("", "castle", 1); err == nil || !strings.Contains(err.Error(), "web-tier") {
		t.Errorf("an unknown scenario: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir, "web-tier", 1); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a directory in use: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("something was left in it: %v", left)
	}
}

func TestWhatIsInjectedStaysInTheAccount(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "account")
	a, err := Create(dir, "web-tier", 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		a.SetCredentials("stolen"), a.Deny("everything"), a.Inject(Fault{Operation: "ec2:*", Kind: "slow", Count: 1}),
		a.Inject(Fault{Operation: "ec2:*", Kind: "error", Count: 1}), a.Inject(Fault{Operation: "ec2:*", Kind: "lost"}),
	} {
		if err == nil {
			t.Error("nonsense was taken")
		}
	}
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := shopIn(t, b)
	s.must(a.Deny("autoscaling:Detach*"))
	s.refused(s.detach(false), "AccessDenied", "autoscaling:DetachInstances")
	s.must(a.Inject(Fault{Operation: "autoscaling:AttachInstances", Kind: "error", Code: "ResourceContention", Count: 1}))
	s.refused(s.attach(), "ResourceContention", "injected")
	s.must(a.SetCredentials("expired"))
	s.refused(s.detach(false), "ExpiredToken", "expired")
}
