package rehearsal

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

type cfnACL struct {
	VpcId *string
	Tags  []cfnTag
}

func cfnCreateACL(x *cfnWork, p *cfnACL) error {
	out, err := callAs(x, "ec2:CreateNetworkAcl", ec2CreateNetworkAcl, &ec2.CreateNetworkAclInput{VpcId: p.VpcId})
	if err != nil {
		return err
	}
	x.resource.Physical = *out.NetworkAcl.NetworkAclId
	x.label(p.Tags)
	return nil
}

type cfnACLEntry struct {
	NetworkAclId             *string
	RuleNumber               *int32
	Protocol                 *string
	RuleAction               types.RuleAction
	Egress                   *bool
	CidrBlock, Ipv6CidrBlock *string
	PortRange                *struct{ From, To *int32 }
}

// cfnACLEntryID keeps what names an entry: it has no ID of its own.
const cfnACLEntryID = "%s|%d|%t"

func cfnCreateACLEntry(x *cfnWork, p *cfnACLEntry) error {
	in := &ec2.CreateNetworkAclEntryInput{
		NetworkAclId: p.NetworkAclId, RuleNumber: p.RuleNumber, Protocol: p.Protocol, RuleAction: p.RuleAction,
		Egress: aws.Bool(aws.ToBool(p.Egress)), CidrBlock: p.CidrBlock, Ipv6CidrBlock: p.Ipv6CidrBlock,
	}
	if p.PortRange != nil {
		in.PortRange = &types.PortRange{From: p.PortRange.From, To: p.PortRange.To}
	}
	_, err := callAs(x, "ec2:CreateNetworkAclEntry", ec2CreateNetworkAclEntry, in)
	if err == nil {
		x.resource.Physical = fmt.Sprintf(cfnACLEntryID, *p.NetworkAclId, *p.RuleNumber, *in.Egress)
	}
	return err
}

func cfnRemoveACLEntry(x *cfnWork) error {
	for _, a := range x.EC2.ACLs {
		for _, e := range a.Entries {
			if fmt.Sprintf(cfnACLEntryID, a.ID, e.Number, e.Egress) != x.resource.Physical {
				continue
			}
			_, err := callAs(x, "ec2:DeleteNetworkAclEntry", ec2DeleteNetworkAclEntry, &ec2.DeleteNetworkAclEntryInput{NetworkAclId: aws.String(a.ID), RuleNumber: aws.Int32(e.Number), Egress: aws.Bool(e.Egress)})
			return err
		}
	}
	return nil
}

type cfnACLAssociation struct{ NetworkAclId, SubnetId *string }

// cfnAssociateACL takes the subnet from the ACL that it had.
func cfnAssociateACL(x *cfnWork, p *cfnACLAssociation) error {
	subnet := aws.ToString(p.SubnetId)
	id := ""
	if old := x.aclOf(subnet); old != nil {
		for _, a := range old.Associations {
			if a.Subnet == subnet {
				id = a.ID
			}
		}
	}
	out, err := callAs(x, "ec2:ReplaceNetworkAclAssociation", ec2ReplaceNetworkAclAssociation, &ec2.ReplaceNetworkAclAssociationInput{AssociationId: &id, NetworkAclId: p.NetworkAclId})
	if err == nil {
		x.resource.Physical = *out.NewAssociationId
	}
	return err
}

// cfnDisassociateACL gives the subnet back to the VPC's default ACL.
func cfnDisassociateACL(x *cfnWork) error {
	for _, a := range x.EC2.ACLs {
		for _, s := range a.Associations {
			if s.ID != x.resource.Physical {
				continue
			}
			for _, d := range x.EC2.ACLs {
				if d.Default && d.VPC == a.VPC {
					_, err := callAs(x, "ec2:ReplaceNetworkAclAssociation", ec2ReplaceNetworkAclAssociation, &ec2.ReplaceNetworkAclAssociationInput{AssociationId: aws.String(s.ID), NetworkAclId: aws.String(d.ID)})
					return err
				}
			}
		}
	}
	return nil
}
