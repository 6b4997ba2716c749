package rehearsal

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestAnAnswerDoesNotChangeWithTheAccount(t *testing.T) {
	l := newLab(t)
	before := l.describe()
	launched, keep := *before.LaunchTime, *before.BlockDeviceMappings[0].Ebs.DeleteOnTermination
	l.world(func(w *world) {
		w.instance(l.instance).Launched = w.Now
		for _, v := range w.EC2.volumesOf(l.instance) {
			v.Attachment.DeleteOnTermination = !keep
		}
	})
	if !before.LaunchTime.Equal(launched) || *before.BlockDeviceMappings[0].Ebs.DeleteOnTermination != keep {
		t.Error("what was described earlier has changed")
	}
}

func TestTheAccountDoesNotChangeWithARequest(t *testing.T) {
	l := newLab(t)
	in := &ec2.CreateNetworkAclEntryInput{
		Egress: aws.Bool(false), RuleNumber: aws.Int32(5), Protocol: aws.String("6"), RuleAction: types.RuleActionDeny,
		CidrBlock: aws.String("192.0.2.1/32"), PortRange: &types.PortRange{From: aws.Int32(443), To: aws.Int32(443)},
	}
	l.world(func(w *world) { in.NetworkAclId = aws.String(sortedKeys(w.EC2.ACLs)[0]) })
	ok(l.ec2.CreateNetworkAclEntry(l.ctx, in))(t)
	*in.PortRange.From = 1
	acl := ok(l.ec2.DescribeNetworkAcls(l.ctx, &ec2.DescribeNetworkAclsInput{NetworkAclIds: []string{*in.NetworkAclId}}))(t).NetworkAcls[0]
	for _, e := range acl.Entries {
		if e.PortRange != nil && *e.PortRange.From != 443 {
			t.Errorf("the entry begins at port %d", *e.PortRange.From)
		}
	}
}
