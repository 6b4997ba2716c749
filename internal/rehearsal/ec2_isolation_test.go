package rehearsal

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// isolate makes a group that lets nothing in or out.
func (l *lab) isolationGroup() string {
	l.Helper()
	id := ok(l.ec2.CreateSecurityGroup(l.ctx, &ec2.CreateSecurityGroupInput{VpcId: &l.vpc, GroupName: aws.String("isolation"), Description: aws.String("no way in or out")}))(l).GroupId
	g := ok(l.ec2.DescribeSecurityGroups(l.ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{*id}}))(l).SecurityGroups[0]
	ok(l.ec2.RevokeSecurityGroupEgress(l.ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: id, IpPermissions: g.IpPermissionsEgress}))(l)
	return *id
}

func TestANewGroupLetsEverythingOut(t *testing.T) {
	l := newLab(t)
	in := &ec2.CreateSecurityGroupInput{VpcId: &l.vpc, GroupName: aws.String("isolation"), Description: aws.String("x")}
	id := ok(l.ec2.CreateSecurityGroup(l.ctx, in))(t).GroupId
	rules := ok(l.ec2.DescribeSecurityGroupRules(l.ctx, &ec2.DescribeSecurityGroupRulesInput{Filters: []types.Filter{{Name: aws.String("group-id"), Values: []string{*id}}}}))(t).SecurityGroupRules
	four, six := false, false
	for _, r := range rules {
		four = four || *r.IsEgress && aws.ToString(r.CidrIpv4) == "0.0.0.0/0"
		six = six || *r.IsEgress && aws.ToString(r.CidrIpv6) == "::/0"
	}
	if len(rules) != 2 || !four || !six {
		t.Errorf("rules %v", rules)
	}
	_, err := l.ec2.CreateSecurityGroup(l.ctx, in)
	refused(t, "InvalidGroup.Duplicate", err)
	l.world(func(w *world) { w.EC2.VPCs[l.vpc].IPv6CIDR = "" })
	in.GroupName = aws.String("without IPv6")
	other := ok(l.ec2.CreateSecurityGroup(l.ctx, in))(t).GroupId
	l.world(func(w *world) {
		if n := len(w.EC2.Groups[*other].Rules); n != 1 {
			t.Errorf("%d rules in a VPC without IPv6", n)
		}
	})
}

func TestRulesAreAddedAndRevokedWholeOrNotAtAll(t *testing.T) {
	l := newLab(t)
	permission := func(cidr string) types.IpPermission {
		return types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), IpRanges: []types.IpRange{{CidrIp: aws.String(cidr)}}}
	}
	_, err := l.ec2.AuthorizeSecurityGroupIngress(l.ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: &l.group, IpPermissions: []types.IpPermission{permission("192.0.2.0/24"), permission("0.0.0.0/0")},
	})
	refused(t, "InvalidPermission.Duplicate", err)
	_, err = l.ec2.RevokeSecurityGroupIngress(l.ctx, &ec2.RevokeSecurityGroupIngressInput{
		GroupId: &l.group, IpPermissions: []types.IpPermission{permission("0.0.0.0/0"), permission("192.0.2.0/24")},
	})
	refused(t, "InvalidPermission.NotFound", err)
	g := ok(l.ec2.DescribeSecurityGroups(l.ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{l.group}}))(t).SecurityGroups[0]
	if len(g.IpPermissions) != 1 || len(g.IpPermissions[0].IpRanges) != 1 || *g.IpPermissions[0].IpRanges[0].CidrIp != "0.0.0.0/0" {
		t.Errorf("permissions %v", g.IpPermissions)
	}
	ok(l.ec2.AuthorizeSecurityGroupIngress(l.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &l.group, IpPermissions: []types.IpPermission{permission("192.0.2.77/24")}}))(t)
	gone := ok(l.ec2.RevokeSecurityGroupIngress(l.ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: &l.group, IpPermissions: []types.IpPermission{permission("192.0.2.0/24")}}))(t)
	if len(gone.RevokedSecurityGroupRules) != 1 {
		t.Errorf("revoked %v: a CIDR block is stored in canonical form", gone.RevokedSecurityGroupRules)
	}
}

func TestGroupsAreSetPerInterface(t *testing.T) {
	l := newLab(t)
	isolation, nics := l.isolationGroup(), l.describe().NetworkInterfaces
	ok(l.ec2.ModifyInstanceAttribute(l.ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &l.instance, Groups: []string{isolation}}))(t)
	i := l.describe()
	if g := *i.NetworkInterfaces[0].Groups[0].GroupId; g != isolation {
		t.Errorf("primary interface in %s", g)
	}
	if g := *i.NetworkInterfaces[1].Groups[0].GroupId; g != l.group {
		t.Errorf("second interface in %s: the call reaches the primary one only", g)
	}
	l.world(func(w *world) {
		if !w.reachable(l.instance) {
			t.Error("not reachable, though the second interface still is")
		}
	})
	ok(l.ec2.ModifyNetworkInterfaceAttribute(l.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: nics[1].NetworkInterfaceId, Groups: []string{isolation}}))(t)
	l.world(func(w *world) {
		if w.reachable(l.instance) {
			t.Error("reachable, though no interface lets anything in")
		}
	})
	_, err := l.ec2.DeleteSecurityGroup(l.ctx, &ec2.DeleteSecurityGroupInput{GroupId: &isolation})
	refused(t, "DependencyViolation", err)
}

func TestAnInterfaceTakesGroupsOfItsVPCOnly(t *testing.T) {
	l := newLab(t)
	other := ok(l.ec2.CreateVpc(l.ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.1.0.0/16")}))(t).Vpc.VpcId
	foreign := ok(l.ec2.CreateSecurityGroup(l.ctx, &ec2.CreateSecurityGroupInput{VpcId: other, GroupName: aws.String("isolation"), Description: aws.String("x")}))(t).GroupId
	nic := l.describe().NetworkInterfaces[0].NetworkInterfaceId
	for code, groups := range map[string][]string{
		"InvalidGroup.NotFound":                   {l.group, "sg-0123456789abcdef0"},
		"InvalidParameterValue":                   {*foreign},
		"InvalidGroupId.Malformed":                {"isolation"},
		"SecurityGroupsPerInterfaceLimitExceeded": l.groups(6),
	} {
		_, err := l.ec2.ModifyNetworkInterfaceAttribute(l.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: nic, Groups: groups})
		refused(t, code, err)
	}
	if g := l.describe().NetworkInterfaces[0].Groups; len(g) != 1 || *g[0].GroupId != l.group {
		t.Errorf("groups %v after refused requests", g)
	}
}

func (l *lab) groups(n int) (ids []string) {
	l.world(func(w *world) {
		for k := range n {
			ids = append(ids, w.call("ec2").makeGroup(w.EC2.VPCs[l.vpc], "group-"+string(rune('a'+k)), "x").ID)
		}
	})
	return ids
}

func TestTerminationProtectionStopsTheAPIOnly(t *testing.T) {
	l := newLab(t)
	ok(l.ec2.ModifyInstanceAttribute(l.ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &l.instance, DisableApiTermination: &types.AttributeBooleanValue{Value: aws.Bool(true)}}))(t)
	_, err := l.ec2.TerminateInstances(l.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{l.instance}})
	refused(t, "OperationNotPermitted", err)
	ok(l.ec2.ModifyInstanceAttribute(l.ctx, &ec2.ModifyInstanceAttributeInput{
		InstanceId: &l.instance, BlockDeviceMappings: []types.InstanceBlockDeviceMappingSpecification{
			{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsInstanceBlockDeviceSpecification{DeleteOnTermination: aws.Bool(false)}},
		},
	}))(t)
	volumes := l.describe().BlockDeviceMappings
	l.world(func(w *world) { w.terminate(l.instance) })
	l.pass(time.Minute)
	i := l.describe()
	if i.State.Name != types.InstanceStateNameTerminated || len(i.NetworkInterfaces) != 0 || i.VpcId != nil {
		t.Errorf("state %s, %d interfaces", i.State.Name, len(i.NetworkInterfaces))
	}
	l.world(func(w *world) {
		for _, m := range volumes {
			kept := w.volume(*m.Ebs.VolumeId) != nil
			if want := *m.DeviceName == "/dev/xvda"; kept != want {
				t.Errorf("%s kept: %v", *m.DeviceName, kept)
			}
		}
		if n := len(w.EC2.Interfaces); n != 0 {
			t.Errorf("%d interfaces are left", n)
		}
	})
	l.pass(2 * time.Hour)
	_, err = l.ec2.DescribeInstances(l.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{l.instance}})
	refused(t, "InvalidInstanceID.NotFound", err)
}

func TestOneAttributeACall(t *testing.T) {
	l := newLab(t)
	on := &types.AttributeBooleanValue{Value: aws.Bool(true)}
	_, err := l.ec2.ModifyInstanceAttribute(l.ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &l.instance, DisableApiTermination: on, DisableApiStop: on})
	refused(t, "InvalidParameterCombination", err)
	_, err = l.ec2.ModifyInstanceAttribute(l.ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &l.instance, SourceDestCheck: on})
	refused(t, "InvalidInstanceID", err)
	ok(l.ec2.ModifyInstanceAttribute(l.ctx, &ec2.ModifyInstanceAttributeInput{
		InstanceId: &l.instance, Attribute: types.InstanceAttributeNameInstanceInitiatedShutdownBehavior, Value: aws.String("terminate"),
	}))(t)
	got := ok(l.ec2.DescribeInstanceAttribute(l.ctx, &ec2.DescribeInstanceAttributeInput{
		InstanceId: &l.instance, Attribute: types.InstanceAttributeNameInstanceInitiatedShutdownBehavior,
	}))(t)
	if *got.InstanceInitiatedShutdownBehavior.Value != "terminate" {
		t.Errorf("got %s", *got.InstanceInitiatedShutdownBehavior.Value)
	}
}

func TestAReplacedProfileHasANewAssociation(t *testing.T) {
	l := newLab(t)
	list := func() []types.IamInstanceProfileAssociation {
		return ok(l.ec2.DescribeIamInstanceProfileAssociations(l.ctx, &ec2.DescribeIamInstanceProfileAssociationsInput{
			Filters: []types.Filter{{Name: aws.String("instance-id"), Values: []string{l.instance}}},
		}))(t).IamInstanceProfileAssociations
	}
	old := list()[0]
	_, err := l.ec2.AssociateIamInstanceProfile(l.ctx, &ec2.AssociateIamInstanceProfileInput{InstanceId: &l.instance, IamInstanceProfile: &types.IamInstanceProfileSpecification{Name: aws.String("empty")}})
	refused(t, "IncorrectState", err)
	_, err = l.ec2.ReplaceIamInstanceProfileAssociation(l.ctx, &ec2.ReplaceIamInstanceProfileAssociationInput{AssociationId: old.AssociationId, IamInstanceProfile: &types.IamInstanceProfileSpecification{Name: aws.String("nobody")}})
	refused(t, "InvalidParameterValue", err)
	made := ok(l.ec2.ReplaceIamInstanceProfileAssociation(l.ctx, &ec2.ReplaceIamInstanceProfileAssociationInput{AssociationId: old.AssociationId, IamInstanceProfile: &types.IamInstanceProfileSpecification{Name: aws.String("empty")}}))(t).IamInstanceProfileAssociation
	if *made.AssociationId == *old.AssociationId || made.State != types.IamInstanceProfileAssociationStateAssociating {
		t.Errorf("%s is %s", *made.AssociationId, made.State)
	}
	if n := len(list()); n != 2 {
		t.Errorf("%d associations, want the new one and the one that is disassociating", n)
	}
	l.pass(10 * time.Second)
	if now := list(); len(now) != 1 || now[0].State != types.IamInstanceProfileAssociationStateAssociated {
		t.Errorf("associations %v", now)
	}
	ok(l.ec2.DisassociateIamInstanceProfile(l.ctx, &ec2.DisassociateIamInstanceProfileInput{AssociationId: made.AssociationId}))(t)
	if p := l.describe().IamInstanceProfile; p != nil {
		t.Errorf("profile %s", *p.Arn)
	}
	_, err = l.ec2.DisassociateIamInstanceProfile(l.ctx, &ec2.DisassociateIamInstanceProfileInput{AssociationId: made.AssociationId})
	refused(t, "InvalidAssociationID.NotFound", err)
}

func TestACLEntries(t *testing.T) {
	l := newLab(t)
	acl := ok(l.ec2.DescribeNetworkAcls(l.ctx, &ec2.DescribeNetworkAclsInput{Filters: []types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{l.subnet}}}}))(t).NetworkAcls[0]
	if !*acl.IsDefault || len(acl.Entries) != 8 {
		t.Fatalf("default %v, %d entries", *acl.IsDefault, len(acl.Entries))
	}
	entry := func(number int32, cidr string) *ec2.CreateNetworkAclEntryInput {
		return &ec2.CreateNetworkAclEntryInput{NetworkAclId: acl.NetworkAclId, RuleNumber: &number, Egress: aws.Bool(true), Protocol: aws.String("-1"), RuleAction: types.RuleActionDeny, CidrBlock: &cidr}
	}
	ok(l.ec2.CreateNetworkAclEntry(l.ctx, entry(1, "198.51.100.7/32")))(t)
	for code, in := range map[string]*ec2.CreateNetworkAclEntryInput{
		"NetworkAclEntryAlreadyExists": entry(1, "198.51.100.8/32"),
		"InvalidParameterValue":        entry(32767, "198.51.100.8/32"),
	} {
		_, err := l.ec2.CreateNetworkAclEntry(l.ctx, in)
		refused(t, code, err)
	}
	for n := range int32(17) {
		ok(l.ec2.CreateNetworkAclEntry(l.ctx, entry(n+2, "198.51.100.0/24")))(t)
	}
	// 1 to 18, 100, and AWS's own last one: the 20 of IPv4 are used up.
	_, err := l.ec2.CreateNetworkAclEntry(l.ctx, entry(50, "198.51.100.8/32"))
	refused(t, "NetworkAclEntryLimitExceeded", err)
	ok(l.ec2.DeleteNetworkAclEntry(l.ctx, &ec2.DeleteNetworkAclEntryInput{NetworkAclId: acl.NetworkAclId, RuleNumber: aws.Int32(1), Egress: aws.Bool(true)}))(t)
	_, err = l.ec2.DeleteNetworkAclEntry(l.ctx, &ec2.DeleteNetworkAclEntryInput{NetworkAclId: acl.NetworkAclId, RuleNumber: aws.Int32(1), Egress: aws.Bool(true)})
	refused(t, "InvalidNetworkAclEntry.NotFound", err)
}

func TestTakingAnElasticIPOffBringsANewPublicAddress(t *testing.T) {
	l := newLab(t)
	nic := *l.describe().NetworkInterfaces[0].NetworkInterfaceId
	l.world(func(w *world) { w.EC2.Interfaces[nic].AutoPublic = true })
	a := ok(l.ec2.AllocateAddress(l.ctx, &ec2.AllocateAddressInput{}))(t)
	_, err := l.ec2.AssociateAddress(l.ctx, &ec2.AssociateAddressInput{AllocationId: a.AllocationId, NetworkInterfaceId: &nic})
	refused(t, "Gateway.NotAttached", err)
	gateway := ok(l.ec2.CreateInternetGateway(l.ctx, &ec2.CreateInternetGatewayInput{}))(t).InternetGateway.InternetGatewayId
	ok(l.ec2.AttachInternetGateway(l.ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: gateway, VpcId: &l.vpc}))(t)
	_, err = l.ec2.AssociateAddress(l.ctx, &ec2.AssociateAddressInput{AllocationId: a.AllocationId, InstanceId: &l.instance})
	refused(t, "InvalidInstanceID", err)
	association := ok(l.ec2.AssociateAddress(l.ctx, &ec2.AssociateAddressInput{AllocationId: a.AllocationId, NetworkInterfaceId: &nic}))(t).AssociationId
	if got := *l.describe().PublicIpAddress; got != *a.PublicIp {
		t.Errorf("public address %s, want the Elastic IP %s", got, *a.PublicIp)
	}
	ok(l.ec2.DisassociateAddress(l.ctx, &ec2.DisassociateAddressInput{AssociationId: association}))(t)
	if got := aws.ToString(l.describe().PublicIpAddress); got == "" || got == *a.PublicIp {
		t.Errorf("public address %q, want a new one", got)
	}
	ok(l.ec2.ModifyNetworkInterfaceAttribute(l.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: &nic, AssociatePublicIpAddress: aws.Bool(false)}))(t)
	if got := l.describe().PublicIpAddress; got != nil {
		t.Errorf("public address %s", *got)
	}
	if out := ok(l.ec2.DescribeAddresses(l.ctx, &ec2.DescribeAddressesInput{AllocationIds: []string{*a.AllocationId}}))(t); out.Addresses[0].AssociationId != nil {
		t.Errorf("still associated: %s", *out.Addresses[0].AssociationId)
	}
}

func TestStoppingTakesThePublicAddress(t *testing.T) {
	l := newLab(t)
	nic := *l.describe().NetworkInterfaces[0].NetworkInterfaceId
	ok(l.ec2.ModifyNetworkInterfaceAttribute(l.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: &nic, AssociatePublicIpAddress: aws.Bool(true)}))(t)
	before := *l.describe().PublicIpAddress
	ok(l.ec2.StopInstances(l.ctx, &ec2.StopInstancesInput{InstanceIds: []string{l.instance}}))(t)
	_, err := l.ec2.StartInstances(l.ctx, &ec2.StartInstancesInput{InstanceIds: []string{l.instance}})
	refused(t, "IncorrectInstanceState", err)
	l.pass(time.Minute)
	if i := l.describe(); i.State.Name != types.InstanceStateNameStopped || i.PublicIpAddress != nil {
		t.Errorf("state %s, address %v", i.State.Name, i.PublicIpAddress)
	}
	ok(l.ec2.StartInstances(l.ctx, &ec2.StartInstancesInput{InstanceIds: []string{l.instance}}))(t)
	l.pass(time.Minute)
	if after := *l.describe().PublicIpAddress; after == before {
		t.Errorf("the same address %s", after)
	}
}
