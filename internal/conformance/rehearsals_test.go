package conformance

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"golang.org/x/sync/errgroup"

	simulated "github.com/cordon-ir/cordon/internal/rehearsal"
)

// rehearsal is a playbook that the built binary ran in a simulated account, and what
// followed, up to the release and the closing of the clean room.
type rehearsal struct {
	name     string
	playbook string
	scenario string // empty: web-tier
	inputs   []string
	before   func(*simulated.Account) error             // what happens before the alert; nil: nothing
	found    func(*simulated.Account) ([]string, error) // inputs that only the account tells; nil: none
	then     func(dir string) error                     // what is done afterwards, in the same case; nil: nothing
	killed   bool                                       // and resumed, again and again
	export   []byte                                     // of its case's journal, reads included
}

// toRehearse are every shipped playbook, and each input that makes other requests.
var toRehearse = []rehearsal{
	{name: "full-response", playbook: "full-response"},
	{name: "full-response, killed and resumed", playbook: "full-response", inputs: []string{"export=false"}, killed: true},
	{
		name: "full-response, of an instance whose agent takes no commands", playbook: "full-response", before: hangAgent,
		inputs: []string{"export=false", "image=false", "cleanroom=false", "observe_for=off"},
	},
	{name: "exfiltration", playbook: "exfiltration"},
	{name: "exfiltration, with a clean room", playbook: "exfiltration", inputs: []string{"export=false", "cleanroom=true"}},
	{name: "contain", playbook: "contain"},
	{name: "contain, without watching what still passes", playbook: "contain", inputs: []string{"observe_for=off"}},
	{name: "contain, every session of the role", playbook: "contain", inputs: []string{"credentials_scope=role"}},
	{name: "contain, with a quarantine profile", playbook: "contain", inputs: []string{"quarantine_profile=quarantine"}},
	{name: "contain, in standby, drained", playbook: "contain", inputs: []string{"autoscaling_strategy=standby", "wait_for_draining=true"}},
	{name: "contain, the group one smaller", playbook: "contain", inputs: []string{"autoscaling_strategy=shrink"}},
	{name: "contain, of an instance outside of its group", playbook: "contain", before: leaveGroup},
	{name: "contain, of an instance held over every path", playbook: "contain", scenario: "reverse-shells"},
	{
		name: "contain, with live response", playbook: "contain", before: makeAgentEndpoints,
		inputs: []string{"allow=198.51.100.7/32:22,2001:db8:42::/64:22", "allow_ssm=true"},
	},
	{name: "contain, of an instance that reaches other networks", playbook: "contain", before: joinTransit},
	{name: "contain, with flow logs in another Region's bucket", playbook: "contain", before: fileFlows},
	{name: "an access key", playbook: "testdata/access-key.yaml", found: stolenKey},
	{name: "capture", playbook: "capture"},
	{name: "an image of the memory", playbook: "../cli/testdata/memory.yaml"},
	{name: "capture, then what has changed since", playbook: "testdata/captured-twice.yaml"},
	{
		name: "capture, with copies under another key", playbook: "capture", before: makeEvidenceKey,
		inputs: []string{"export=false", "image=false", "copy_kms_key=alias/evidence"},
	},
	{
		name: "capture, with copies in another account", playbook: "capture",
		inputs: []string{"export=false", "image=false", "copy_account=444455556666", "copy_kms_key=alias/evidence", "copy_through_key=alias/shared"},
	},
	{name: "capture, with the image stored as an object", playbook: "capture", inputs: []string{"export=false", "store_image_bucket=cordon-evidence-111122223333"}},
	{name: "capture, then a clean room once the snapshots are gone", playbook: "capture", inputs: []string{"image=false", "lock_mode=none"}, then: examineImages},
	{name: "capture, locked for good", playbook: "capture", inputs: []string{"export=false", "lock_mode=compliance", "lock_days=400"}},
	{name: "capture, without a lock", playbook: "capture", before: attachOwnPolicy, inputs: []string{"export=false", "image=false", "lock_mode=none", "allow_unlocked=true"}},
}

// rehearsals are the runs of toRehearse, once for the whole suite.
var rehearsals = sync.OnceValues(func() ([]rehearsal, error) {
	dir, err := os.MkdirTemp("", "cordon-conformance-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	all := slices.Clone(toRehearse)
	var group errgroup.Group
	group.SetLimit(2) // each is busy
	for i := range all {
		group.Go(func() error {
			if err := all[i].run(filepath.Join(dir, fmt.Sprint(i))); err != nil {
				return fmt.Errorf("rehearsal %q: %w", all[i].name, err)
			}
			return nil
		})
	}
	return all, group.Wait()
})

// run runs the rehearsal in a new account in dir.
func (r *rehearsal) run(dir string) error {
	if err := r.respond(dir); err != nil {
		return err
	}
	if r.then != nil {
		if err := r.then(dir); err != nil {
			return err
		}
	}
	if err := enterRooms(dir); err != nil {
		return err
	}
	for _, command := range [][]string{{"evidence", "list"}, {"cleanroom", "status"}, {"release"}, {"cleanroom", "close"}} {
		if _, err := cordon(dir, append(command, inCase(dir)...)...); err != nil {
			return err
		}
	}
	if err := r.fetch(dir); err != nil {
		return err
	}
	// What was fetched, held and handed over is still what it should be; what was deleted is missed.
	_, err := cordon(dir, append([]string{"evidence", "verify"}, inCase(dir)...)...)
	if (err != nil) != (r.then != nil) {
		return fmt.Errorf("evidence verify: %v", err)
	}
	r.export, err = cordon(dir, append([]string{"journal", "export"}, inCase(dir)...)...)
	return err
}

// enterRooms starts a session on each examination instance: closing the room ends it.
func enterRooms(dir string) error {
	account, err := simulated.Open(dir)
	if err != nil {
		return err
	}
	ctx, cfg := context.Background(), account.Config(account.Alert().Region)
	out, err := ec2.NewFromConfig(cfg).DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{
		{Name: aws.String("tag-key"), Values: []string{"aws:cloudformation:stack-id"}}, {Name: aws.String("instance-state-name"), Values: []string{"running"}},
	}})
	if err != nil {
		return err
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			if _, err := ssm.NewFromConfig(cfg).StartSession(ctx, &ssm.StartSessionInput{Target: i.InstanceId}); err != nil {
				return err
			}
		}
	}
	return nil
}

func inCase(dir string) []string {
	return []string{"--rehearsal", dir, "--case", "REHEARSAL-1", "--verbose", "--yes"}
}

// respond runs the playbook to its end.
func (r *rehearsal) respond(dir string) error {
	var set []string
	for _, input := range r.inputs {
		set = append(set, "--set", input)
	}
	scenario := cmp.Or(r.scenario, "web-tier")
	if !r.killed && r.before == nil && r.found == nil {
		_, err := cordon(dir, append([]string{"rehearse", scenario, "--verbose", "--dir", dir, "--playbook", r.playbook}, set...)...)
		return err
	}
	account, err := simulated.Create(dir, scenario, 1)
	if err != nil {
		return err
	}
	if r.before != nil {
		if err := r.before(account); err != nil {
			return err
		}
	}
	if r.found != nil {
		inputs, err := r.found(account)
		if err != nil {
			return err
		}
		for _, input := range inputs {
			set = append(set, "--set", input)
		}
	}
	if _, err := cordon(dir, "--rehearsal", dir, "case", "open", "REHEARSAL-1"); err != nil {
		return err
	}
	run := slices.Concat([]string{"run", r.playbook, "--instance", account.Alert().Instance, "--require-permissions"}, set, inCase(dir))
	if r.killed {
		return respondThoughKilled(dir, run)
	}
	_, err = cordon(dir, run...)
	return err
}

// respondThoughKilled runs the playbook and kills it, by SIGKILL, each time that
// it has shown some entries, more each time, until it comes to its end.
func respondThoughKilled(dir string, args []string) error {
	for kills := 0; ; kills++ {
		killed, err := killedAfter(60+10*kills, program(dir, append(args, "--output", "json")...))
		if err != nil {
			return err
		}
		switch {
		case killed:
			args = append([]string{"resume"}, inCase(dir)...)
		case kills == 0:
			return errors.New("it was over before it could be killed")
		default:
			return nil
		}
	}
}

// examineImages deletes the case's snapshots and opens a clean room for them: their
// exported images are there.
func examineImages(dir string) error {
	account, err := simulated.Open(dir)
	if err != nil {
		return err
	}
	client := ec2.NewFromConfig(account.Config(account.Alert().Region))
	out, err := client.DescribeSnapshots(context.Background(), &ec2.DescribeSnapshotsInput{Filters: []ec2types.Filter{{Name: aws.String("tag-key"), Values: []string{"cordon:case"}}}})
	if err != nil {
		return err
	}
	var ids []string
	for _, s := range out.Snapshots {
		if _, err := client.DeleteSnapshot(context.Background(), &ec2.DeleteSnapshotInput{SnapshotId: s.SnapshotId}); err != nil {
			return err
		}
		ids = append(ids, *s.SnapshotId)
	}
	_, err = cordon(dir, append([]string{"run", "testdata/room.yaml", "--instance", account.Alert().Instance, "--set", "snapshots=" + strings.Join(ids, ",")}, inCase(dir)...)...)
	return err
}

// hangAgent: the agent says that it is online, and takes nothing.
func hangAgent(account *simulated.Account) error {
	return account.Inject(simulated.Fault{Operation: "ssm:SendCommand", Kind: "stuck", Count: 100})
}

// leaveGroup takes the suspected instance out of its group, but leaves it
// behind the classic load balancer: as one that was never in a group.
func leaveGroup(account *simulated.Account) error {
	ctx, alert := context.Background(), account.Alert()
	cfg := account.Config(alert.Region)
	group := account.Overview().Groups[0].Name
	_, err := autoscaling.NewFromConfig(cfg).DetachInstances(ctx, &autoscaling.DetachInstancesInput{
		AutoScalingGroupName: &group, InstanceIds: []string{alert.Instance}, ShouldDecrementDesiredCapacity: aws.Bool(true),
	})
	if err != nil {
		return err
	}
	if err := account.Clock().Sleep(ctx, time.Hour); err != nil { // until it has left
		return err
	}
	classic := elb.NewFromConfig(cfg)
	found, err := classic.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{})
	if err != nil {
		return err
	}
	_, err = classic.RegisterInstancesWithLoadBalancer(ctx, &elb.RegisterInstancesWithLoadBalancerInput{
		LoadBalancerName: found.LoadBalancerDescriptions[0].LoadBalancerName, Instances: []elbtypes.Instance{{InstanceId: &alert.Instance}},
	})
	return err
}

// attachOwnPolicy gives the instance's role a policy that is the account's own.
func attachOwnPolicy(account *simulated.Account) error {
	ctx := context.Background()
	cfg := account.Config(account.Alert().Region)
	found, err := ec2.NewFromConfig(cfg).DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{account.Alert().Instance}})
	if err != nil {
		return err
	}
	client := iam.NewFromConfig(cfg)
	arn := *found.Reservations[0].Instances[0].IamInstanceProfile.Arn
	profile, err := client.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(arn[strings.LastIndexByte(arn, '/')+1:])})
	if err != nil {
		return err
	}
	made, err := client.CreatePolicy(ctx, &iam.CreatePolicyInput{
		PolicyName:     aws.String("reads-the-shop"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::shop/*"}]}`),
	})
	if err != nil {
		return err
	}
	_, err = client.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: profile.InstanceProfile.Roles[0].RoleName, PolicyArn: made.Policy.Arn})
	return err
}

// makeEvidenceKey gives the account a key for what is kept, alias/evidence.
func makeEvidenceKey(account *simulated.Account) error {
	ctx := context.Background()
	client := kms.NewFromConfig(account.Config(account.Alert().Region))
	made, err := client.CreateKey(ctx, &kms.CreateKeyInput{Description: aws.String("evidence")})
	if err != nil {
		return err
	}
	_, err = client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/evidence"), TargetKeyId: made.KeyMetadata.KeyId})
	return err
}

// makeAgentEndpoints gives the suspect's network the endpoints of Systems Manager.
func makeAgentEndpoints(account *simulated.Account) error {
	ctx, alert := context.Background(), account.Alert()
	client := ec2.NewFromConfig(account.Config(alert.Region))
	found, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{alert.Instance}})
	if err != nil {
		return err
	}
	primary := found.Reservations[0].Instances[0].NetworkInterfaces[0]
	for _, service := range []string{"ssm", "ssmmessages", "ec2messages"} {
		if _, err := client.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
			VpcId: primary.VpcId, ServiceName: aws.String("com.amazonaws." + alert.Region + "." + service), VpcEndpointType: ec2types.VpcEndpointTypeInterface,
			SubnetIds: []string{*primary.SubnetId}, SecurityGroupIds: []string{*primary.Groups[0].GroupId},
		}); err != nil {
			return err
		}
	}
	return nil
}

// fileFlows has the traffic of the instance's VPC recorded in a bucket too.
func fileFlows(account *simulated.Account) error {
	ctx, alert := context.Background(), account.Alert()
	const elsewhere = "eu-west-1"
	if _, err := s3.NewFromConfig(account.Config(elsewhere)).CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket: aws.String("flow-log-archive"), CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: elsewhere},
	}); err != nil {
		return err
	}
	client := ec2.NewFromConfig(account.Config(alert.Region))
	found, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{alert.Instance}})
	if err != nil {
		return err
	}
	_, err = client.CreateFlowLogs(ctx, &ec2.CreateFlowLogsInput{
		ResourceIds: []string{*found.Reservations[0].Instances[0].VpcId}, ResourceType: ec2types.FlowLogsResourceTypeVpc, TrafficType: ec2types.TrafficTypeAll,
		LogDestinationType: ec2types.LogDestinationTypeS3, LogDestination: aws.String("arn:aws:s3:::flow-log-archive"), MaxAggregationInterval: aws.Int32(60),
	})
	return err
}

// joinTransit attaches the suspected instance's network to a transit gateway, and
// sends what AWS's own list of addresses names through it.
func joinTransit(account *simulated.Account) error {
	ctx, alert := context.Background(), account.Alert()
	client := ec2.NewFromConfig(account.Config(alert.Region))
	found, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{alert.Instance}})
	if err != nil {
		return err
	}
	primary, second := found.Reservations[0].Instances[0].NetworkInterfaces[0], found.Reservations[0].Instances[0].NetworkInterfaces[1]
	gateway, err := client.CreateTransitGateway(ctx, &ec2.CreateTransitGatewayInput{})
	if err != nil {
		return err
	}
	if _, err := client.CreateTransitGatewayVpcAttachment(ctx, &ec2.CreateTransitGatewayVpcAttachmentInput{
		TransitGatewayId: gateway.TransitGateway.TransitGatewayId, VpcId: primary.VpcId, SubnetIds: []string{*second.SubnetId},
	}); err != nil {
		return err
	}
	tables, err := client.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{
		Filters: []ec2types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{*primary.SubnetId}}},
	})
	if err != nil {
		return err
	}
	lists, err := client.DescribeManagedPrefixLists(ctx, &ec2.DescribeManagedPrefixListsInput{})
	if err != nil {
		return err
	}
	_, err = client.CreateRoute(ctx, &ec2.CreateRouteInput{
		RouteTableId: tables.RouteTables[0].RouteTableId, TransitGatewayId: gateway.TransitGateway.TransitGatewayId,
		DestinationPrefixListId: lists.PrefixLists[0].PrefixListId,
	})
	return err
}

// stolenKey names the access key that the intruder has.
func stolenKey(account *simulated.Account) ([]string, error) {
	client := iam.NewFromConfig(account.Config(account.Alert().Region))
	users, err := client.ListUsers(context.Background(), &iam.ListUsersInput{})
	if err != nil {
		return nil, err
	}
	user := users.Users[0].UserName
	keys, err := client.ListAccessKeys(context.Background(), &iam.ListAccessKeysInput{UserName: user})
	if err != nil {
		return nil, err
	}
	return []string{"user=" + *user, "access_key_id=" + *keys.AccessKeyMetadata[0].AccessKeyId}, nil
}

// killedAfter kills the program once it has written this many lines. It
// reports whether the program was still alive then.
func killedAfter(lines int, cmd *exec.Cmd) (bool, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	written := bufio.NewReader(out)
	for seen := 0; ; {
		_, err := written.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) { // a long line
			continue
		}
		if err != nil {
			break
		}
		if seen++; seen == lines {
			if err := cmd.Process.Kill(); err != nil {
				return false, errors.Join(err, cmd.Wait())
			}
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == -1 {
		return true, nil
	}
	return false, err
}

// fetch fetches the evidence that has bytes, one item of each kind, puts a legal hold on
// the metadata, and hands it over.
func (r *rehearsal) fetch(dir string) error {
	out, err := cordon(dir, append([]string{"evidence", "list", "--output", "json"}, inCase(dir)...)...)
	if err != nil {
		return err
	}
	var list struct {
		Items []struct{ ID, Kind, Key string }
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return err
	}
	fetched := make(map[string]bool)
	for _, item := range list.Items {
		if item.Key == "" || fetched[item.Kind] {
			continue
		}
		fetched[item.Kind] = true
		to := filepath.Join(dir, "fetched-"+item.ID)
		commands := [][]string{{"fetch", item.ID, "--out", to}}
		if item.Kind == "metadata" {
			commands = append(commands, []string{"hold", item.ID, "on"}, []string{"transfer", item.ID, "--to", "the court", "--reason", "order 13"})
		}
		for _, c := range commands {
			if _, err := cordon(dir, slices.Concat([]string{"evidence"}, c, inCase(dir))...); err != nil {
				return err
			}
		}
	}
	return nil
}

// cordon runs the built binary to its end, which must be a good one.
func cordon(state string, args ...string) ([]byte, error) {
	cmd := program(state, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		last := strings.Join(lines[max(0, len(lines)-10):], "\n")
		return nil, fmt.Errorf("cordon %s: %w\n%s", strings.Join(args, " "), err, last)
	}
	return out, nil
}

// program is the built binary with a state directory, and no configuration, of its own.
func program(state string, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+state, "XDG_CONFIG_HOME="+state, "CORDON_HOME=", "CORDON_CONFIG=", "CORDON_REHEARSAL=")
	return cmd
}

func TestEveryShippedPlaybookIsRehearsed(t *testing.T) {
	out, err := cordon(t.TempDir(), "playbook", "list", "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	var shipped []struct{ Name string }
	if err := json.Unmarshal(out, &shipped); err != nil || len(shipped) < 4 {
		t.Fatalf("%d playbooks: %v", len(shipped), err)
	}
	for _, p := range shipped {
		if !slices.ContainsFunc(toRehearse, func(r rehearsal) bool { return r.playbook == p.Name && r.inputs == nil && r.before == nil && !r.killed }) {
			t.Errorf("%s is not rehearsed as it is shipped", p.Name)
		}
	}
}
