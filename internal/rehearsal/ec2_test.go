package rehearsal

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"
	"pgregory.net/rapid"
)

// lab is an account with one VPC and one instance that has two interfaces and
// two volumes, and the real client for it.
type lab struct {
	*testing.T
	account *Account
	ec2     *ec2.Client
	ctx     context.Context

	vpc, subnet, group, instance string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{T: t, ctx: context.Background()}
	a, err := newAccount("", time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), 7, l.build)
	if err != nil {
		t.Fatal(err)
	}
	l.account, l.ec2 = a, client(a, "eu-central-1")
	l.pass(5 * time.Minute)
	return l
}

// client does not wait between tries: the SDK would in real time.
func client(a *Account, region string) *ec2.Client {
	cfg := a.Config(region)
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	}
	return ec2.NewFromConfig(cfg)
}

func (l *lab) build(w *world) error {
	c := w.call("ec2")
	v, err := ec2CreateVpc(c, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), AmazonProvidedIpv6CidrBlock: aws.Bool(true)})
	if err != nil {
		return err
	}
	l.vpc = *v.Vpc.VpcId
	sub, err := ec2CreateSubnet(c, &ec2.CreateSubnetInput{VpcId: &l.vpc, CidrBlock: aws.String("10.0.1.0/24")})
	if err != nil {
		return err
	}
	l.subnet = *sub.Subnet.SubnetId
	g := c.makeGroup(w.EC2.VPCs[l.vpc], "web", "web servers")
	g.Rules = append(g.Rules, groupRule{ID: w.id("sgr"), Protocol: "tcp", From: 443, To: 443, CIDR: "0.0.0.0/0"})
	l.group = g.ID
	if _, err := iamCreateInstanceProfile(c, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("web")}); err != nil {
		return err
	}
	if _, err := iamCreateInstanceProfile(c, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("empty")}); err != nil {
		return err
	}
	i, err := w.launch(launchSpec{
		Image: w.makeImage("web-1", w.Account, types.ArchitectureValuesX8664, "web-root", 8).ID, Type: "t3.micro", Subnet: l.subnet, Groups: []string{l.group},
		Profile: "web", Tags: map[string]string{"Name": "web"}, VolumeTags: map[string]string{"Owner": "shop"},
		Volumes:    []launchVolume{{Device: "/dev/sdf", Size: 10, Disk: "web-data", Encrypted: true}},
		Interfaces: []launchInterface{{Index: 1, Subnet: l.subnet, Groups: []string{l.group}, Description: "management"}},
	})
	if err != nil {
		return err
	}
	l.instance = i.ID
	return nil
}

// pass lets simulated time pass.
func (l *lab) pass(d time.Duration) {
	l.Helper()
	if err := l.account.Clock().Sleep(l.ctx, d); err != nil {
		l.Fatal(err)
	}
}

// world looks behind the API.
func (l *lab) world(f func(*world)) {
	l.Helper()
	if err := l.account.with(func(w *world) bool { f(w); return true }); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) describe() types.Instance {
	l.Helper()
	out := ok(l.ec2.DescribeInstances(l.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{l.instance}}))(l)
	return out.Reservations[0].Instances[0]
}

// ok fails the test on an error: ok(call())(t).
func ok[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refused wants AWS's error code.
func refused(t testing.TB, code string, err error) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

func TestAnInstanceShowsWhatItsPartsShow(t *testing.T) {
	l := newLab(t)
	i := l.describe()
	nics := ok(l.ec2.DescribeNetworkInterfaces(l.ctx, &ec2.DescribeNetworkInterfacesInput{
		Filters: []types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{l.instance}}},
	}))(t).NetworkInterfaces
	if len(nics) != 2 || len(i.NetworkInterfaces) != 2 {
		t.Fatalf("%d and %d interfaces, want 2", len(nics), len(i.NetworkInterfaces))
	}
	byID := make(map[string]types.NetworkInterface)
	for _, n := range nics {
		byID[*n.NetworkInterfaceId] = n
	}
	for index, n := range i.NetworkInterfaces {
		if int(*n.Attachment.DeviceIndex) != index || *byID[*n.NetworkInterfaceId].PrivateIpAddress != *n.PrivateIpAddress {
			t.Errorf("interface %d: %s at index %d", index, *n.NetworkInterfaceId, *n.Attachment.DeviceIndex)
		}
	}
	if len(i.BlockDeviceMappings) != 2 || *i.RootDeviceName != "/dev/xvda" || i.State.Name != types.InstanceStateNameRunning {
		t.Errorf("mappings %v, root %s, state %s", i.BlockDeviceMappings, *i.RootDeviceName, i.State.Name)
	}
	if !strings.HasSuffix(*i.IamInstanceProfile.Arn, ":instance-profile/web") {
		t.Errorf("profile %s", *i.IamInstanceProfile.Arn)
	}
}

func TestMissingAndMalformedIDs(t *testing.T) {
	l := newLab(t)
	const none = "-0123456789abcdef0"
	for name, test := range map[string]struct {
		code string
		call func() error
	}{
		"instance": {"InvalidInstanceID.NotFound", func() error {
			_, err := l.ec2.DescribeInstances(l.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{l.instance, "i" + none}})
			return err
		}},
		"not an instance ID": {"InvalidInstanceID.Malformed", func() error {
			_, err := l.ec2.DescribeInstances(l.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{"i-web"}})
			return err
		}},
		"attribute": {"InvalidInstanceID.NotFound", func() error {
			_, err := l.ec2.DescribeInstanceAttribute(l.ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: aws.String("i" + none), Attribute: types.InstanceAttributeNameUserData})
			return err
		}},
		"interface": {"InvalidNetworkInterfaceID.NotFound", func() error {
			_, err := l.ec2.ModifyNetworkInterfaceAttribute(l.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: aws.String("eni" + none)})
			return err
		}},
		"group": {"InvalidGroup.NotFound", func() error {
			_, err := l.ec2.DescribeSecurityGroups(l.ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{"sg" + none}})
			return err
		}},
		"snapshot": {"InvalidSnapshot.NotFound", func() error {
			_, err := l.ec2.LockSnapshot(l.ctx, &ec2.LockSnapshotInput{SnapshotId: aws.String("snap" + none), LockMode: types.LockModeGovernance, LockDuration: aws.Int32(1)})
			return err
		}},
		"volume": {"InvalidVolume.NotFound", func() error {
			_, err := l.ec2.DescribeVolumes(l.ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{"vol" + none}})
			return err
		}},
		"image": {"InvalidAMIID.NotFound", func() error {
			_, err := l.ec2.DeregisterImage(l.ctx, &ec2.DeregisterImageInput{ImageId: aws.String("ami" + none)})
			return err
		}},
		"ACL": {"InvalidNetworkAclID.NotFound", func() error {
			_, err := l.ec2.DescribeNetworkAcls(l.ctx, &ec2.DescribeNetworkAclsInput{NetworkAclIds: []string{"acl" + none}})
			return err
		}},
		"association": {"InvalidAssociationID.NotFound", func() error {
			_, err := l.ec2.DisassociateIamInstanceProfile(l.ctx, &ec2.DisassociateIamInstanceProfileInput{AssociationId: aws.String("iip-assoc" + none)})
			return err
		}},
		"tagged": {"InvalidSnapshot.NotFound", func() error {
			_, err := l.ec2.CreateTags(l.ctx, &ec2.CreateTagsInput{Resources: []string{l.instance, "snap" + none}, Tags: []types.Tag{{Key: aws.String("case"), Value: aws.String("1")}}})
			return err
		}},
		"filter": {"InvalidParameterValue", func() error {
			_, err := l.ec2.DescribeInstances(l.ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("instance-sate-name"), Values: []string{"running"}}}})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, test.code, test.call()) })
	}
	if tags := l.describe().Tags; len(tags) != 1 {
		t.Errorf("tags %v: a refused request changed the instance", tags)
	}
}

func TestAnotherRegionShowsNothing(t *testing.T) {
	l := newLab(t)
	elsewhere := client(l.account, "us-east-1")
	_, err := elsewhere.DescribeInstances(l.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{l.instance}})
	refused(t, "InvalidInstanceID.NotFound", err)
	_, err = elsewhere.TerminateInstances(l.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{l.instance}})
	refused(t, "InvalidInstanceID.NotFound", err)
	if out := ok(elsewhere.DescribeVpcs(l.ctx, &ec2.DescribeVpcsInput{}))(t); len(out.Vpcs) != 0 {
		t.Errorf("got %d VPCs", len(out.Vpcs))
	}
	_, err = elsewhere.CreateVpc(l.ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16")})
	refused(t, "UnsupportedOperation", err)
}

func TestADryRunChangesNothing(t *testing.T) {
	l := newLab(t)
	_, err := l.ec2.TerminateInstances(l.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{l.instance}, DryRun: aws.Bool(true)})
	refused(t, "DryRunOperation", err)
	l.world(func(w *world) { w.Denied = []string{"ec2:Terminate*"} })
	_, err = l.ec2.TerminateInstances(l.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{l.instance}, DryRun: aws.Bool(true)})
	refused(t, "UnauthorizedOperation", err)
	if s := l.describe().State.Name; s != types.InstanceStateNameRunning {
		t.Errorf("state %s", s)
	}
}

func TestATagFilterMissesWhatWasTaggedAMomentAgo(t *testing.T) {
	l := newLab(t)
	set := ok(l.ec2.CreateSnapshots(l.ctx, &ec2.CreateSnapshotsInput{
		InstanceSpecification: &types.InstanceSpecification{InstanceId: &l.instance},
		TagSpecifications:     []types.TagSpecification{{ResourceType: types.ResourceTypeSnapshot, Tags: []types.Tag{{Key: aws.String("cordon:step"), Value: aws.String("a b")}}}},
	}))(t)
	byTag := &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{{Name: aws.String("tag:cordon:step"), Values: []string{"a b"}}}}
	if out := ok(l.ec2.DescribeSnapshots(l.ctx, byTag))(t); len(out.Snapshots) != 0 {
		t.Errorf("the index already knows %d", len(out.Snapshots))
	}
	byID := ok(l.ec2.DescribeSnapshots(l.ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{*set.Snapshots[0].SnapshotId}}))(t)
	if len(byID.Snapshots[0].Tags) != 1 {
		t.Errorf("tags %v", byID.Snapshots[0].Tags)
	}
	l.pass(6 * time.Second)
	if out := ok(l.ec2.DescribeSnapshots(l.ctx, byTag))(t); len(out.Snapshots) != 2 {
		t.Errorf("the index knows %d, want 2", len(out.Snapshots))
	}
	if out := ok(l.ec2.DescribeTags(l.ctx, &ec2.DescribeTagsInput{Filters: []types.Filter{{Name: aws.String("key"), Values: []string{"cordon:*"}}}}))(t); len(out.Tags) != 2 {
		t.Errorf("tags %v", out.Tags)
	}
}

func TestALostAnswerIsRepeatedOnlyByAClientToken(t *testing.T) {
	l := newLab(t)
	l.world(func(w *world) {
		w.Faults = []Fault{{Operation: "ec2:RunInstances", Kind: "lost", Count: 1}, {Operation: "ec2:CreateSnapshots", Kind: "lost", Count: 1}}
	})
	ok(l.ec2.RunInstances(l.ctx, &ec2.RunInstancesInput{
		ImageId: l.describe().ImageId, InstanceType: types.InstanceTypeT3Micro, SubnetId: &l.subnet, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	}))(t)
	ok(l.ec2.CreateSnapshots(l.ctx, &ec2.CreateSnapshotsInput{InstanceSpecification: &types.InstanceSpecification{InstanceId: &l.instance}}))(t)
	l.world(func(w *world) {
		if n := len(w.EC2.Instances); n != 2 {
			t.Errorf("%d instances, want the old one and one new one", n)
		}
		own := 0
		for _, s := range w.EC2.Snapshots {
			if s.Volume != copiedVolume {
				own++
			}
		}
		if own != 4 {
			t.Errorf("%d snapshots, want two sets of two: the API has no client token", own)
		}
	})
}

func TestAClientTokenWithOtherParametersIsRefused(t *testing.T) {
	l := newLab(t)
	in := &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-central-1a"), Size: aws.Int32(1), ClientToken: aws.String("0123")}
	first := ok(l.ec2.CreateVolume(l.ctx, in))(t)
	if again := ok(l.ec2.CreateVolume(l.ctx, in))(t); *again.VolumeId != *first.VolumeId {
		t.Errorf("a second volume %s", *again.VolumeId)
	}
	_, err := l.ec2.CreateVolume(l.ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-central-1a"), Size: aws.Int32(2), ClientToken: aws.String("0123")})
	refused(t, "IdempotentParameterMismatch", err)
}

func TestPagesLoseNothingWhileResourcesComeAndGo(t *testing.T) {
	l := newLab(t)
	var ids []string
	for range 12 {
		ids = append(ids, *ok(l.ec2.CreateVolume(l.ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-central-1a"), Size: aws.Int32(1)}))(t).VolumeId)
	}
	seen := make(map[string]bool)
	p := ec2.NewDescribeVolumesPaginator(l.ec2, &ec2.DescribeVolumesInput{MaxResults: aws.Int32(5)})
	for p.HasMorePages() {
		for _, v := range ok(p.NextPage(l.ctx))(t).Volumes {
			if seen[*v.VolumeId] {
				t.Errorf("%s twice", *v.VolumeId)
			}
			seen[*v.VolumeId] = true
		}
		// One that was listed already goes away: nothing behind it may be skipped.
		for id := range seen {
			if _, err := l.ec2.DeleteVolume(l.ctx, &ec2.DeleteVolumeInput{VolumeId: &id}); err == nil {
				break
			}
		}
	}
	for _, id := range ids {
		if !seen[id] {
			t.Errorf("%s was never listed", id)
		}
	}
	_, err := l.ec2.DescribeVolumes(l.ctx, &ec2.DescribeVolumesInput{MaxResults: aws.Int32(5), VolumeIds: []string{*l.describe().BlockDeviceMappings[0].Ebs.VolumeId}})
	refused(t, "InvalidParameterCombination", err)
}

func TestWildcardsMatchAsARegularExpressionWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.SampledFrom([]rune("ab*?.")), 0, 6, -1).Draw(t, "pattern")
		s := rapid.StringOfN(rapid.SampledFrom([]rune("ab.")), 0, 6, -1).Draw(t, "s")
		expression := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
		if want := regexp.MustCompile("^" + expression + "$").MatchString(s); wildcard(pattern, s) != want {
			t.Fatalf("%q on %q: want %v", pattern, s, want)
		}
	})
	if !wildcard(`\*`, "*") || wildcard(`\*`, "a") {
		t.Error("a backslash takes the next character literally")
	}
}

func TestAnAccountOnDiskIsTheSameWhenOpenedAgain(t *testing.T) {
	l := &lab{T: t, ctx: context.Background()}
	a := ok(newAccount(t.TempDir(), time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), 7, l.build))(t)
	l.account, l.ec2 = a, client(a, "eu-central-1")
	before := ok(l.ec2.CreateSecurityGroup(l.ctx, &ec2.CreateSecurityGroupInput{VpcId: &l.vpc, GroupName: aws.String("isolation"), Description: aws.String("x")}))(t)
	again := client(ok(Open(a.Dir()))(t), "eu-central-1")
	out := ok(again.DescribeSecurityGroups(l.ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{*before.GroupId}}))(t)
	if len(out.SecurityGroups[0].IpPermissionsEgress) != 1 {
		t.Errorf("egress %v", out.SecurityGroups[0].IpPermissionsEgress)
	}
	ok(again.AuthorizeSecurityGroupIngress(l.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: before.GroupId, IpPermissions: []types.IpPermission{{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("10.0.0.0/8")}}}}}))(t)
	out = ok(l.ec2.DescribeSecurityGroups(l.ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{*before.GroupId}}))(t)
	if len(out.SecurityGroups[0].IpPermissions) != 1 {
		t.Error("the first process does not see what the second one did")
	}
}

func TestANetworkIsTakenDownFromTheInside(t *testing.T) {
	l := newLab(t)
	delete := func(what string) error {
		var err error
		switch what {
		case "subnet":
			_, err = l.ec2.DeleteSubnet(l.ctx, &ec2.DeleteSubnetInput{SubnetId: &l.subnet})
		case "group":
			_, err = l.ec2.DeleteSecurityGroup(l.ctx, &ec2.DeleteSecurityGroupInput{GroupId: &l.group})
		case "vpc":
			_, err = l.ec2.DeleteVpc(l.ctx, &ec2.DeleteVpcInput{VpcId: &l.vpc})
		}
		return err
	}
	for _, what := range []string{"subnet", "group", "vpc"} {
		refused(t, "DependencyViolation", delete(what))
	}
	ok(l.ec2.TerminateInstances(l.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{l.instance}}))(t)
	refused(t, "DependencyViolation", delete("subnet")) // the instance is still shutting down
	l.pass(time.Minute)
	for _, what := range []string{"subnet", "group", "vpc"} {
		if err := delete(what); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	l.world(func(w *world) {
		if n := len(w.EC2.Groups) + len(w.EC2.RouteTables) + len(w.EC2.ACLs) + len(w.EC2.Interfaces); n != 0 {
			t.Errorf("%d parts are left", n)
		}
	})
}
