package rehearsal

import (
	"fmt"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// ssmState is what Systems Manager keeps of its own. Which instances it manages
// follows from them.
type ssmState struct {
	Commands  []*runCommand        `json:"commands,omitempty"` // oldest first
	Documents map[string]*document `json:"documents,omitempty"`
	Sessions  []*shellSession      `json:"sessions,omitempty"` // oldest first
}

func (ops operations) ssm() {
	on(ops, ssmGetParameter)
	on(ops, ssmGetParameters)
	on(ops, ssmDescribeInstanceInformation)
	on(ops, ssmSendCommand)
	on(ops, ssmGetCommandInvocation)
	on(ops, ssmListCommands)
	on(ops, ssmCancelCommand)
	on(ops, ssmCreateDocument)
	on(ops, ssmDescribeDocument)
	on(ops, ssmGetDocument)
	on(ops, ssmDeleteDocument)
	on(ops, ssmStartSession)
	on(ops, ssmDescribeSessions)
	on(ops, ssmTerminateSession)
}

var publicImage = regexp.MustCompile(`^/aws/service/ami-amazon-linux-latest/al2023-ami(-minimal)?-kernel-(default|6\.1)-(x86_64|arm64)$`)

// parameter gives the public parameters that name Amazon's newest images ("Calling AMI
// public parameters in Parameter Store"); the account has none of its own.
func (c *call) parameter(name string) *ssmtypes.Parameter {
	m := publicImage.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	for _, img := range inOrder(c.ec2().Images) {
		if img.Owner == amazon && string(img.Arch) == m[3] {
			return &ssmtypes.Parameter{
				Name: aws.String(name), Value: &img.ID, Type: ssmtypes.ParameterTypeString, DataType: aws.String("text"), Version: 1,
				LastModifiedDate: &img.Created, ARN: aws.String(fmt.Sprintf("arn:aws:ssm:%s::parameter%s", c.region, name)),
			}
		}
	}
	return nil
}

// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html
func ssmGetParameter(c *call, in *ssm.GetParameterInput) (*ssm.GetParameterOutput, error) {
	if p := c.parameter(aws.ToString(in.Name)); p != nil {
		return &ssm.GetParameterOutput{Parameter: p}, nil
	}
	return nil, &ssmtypes.ParameterNotFound{Message: in.Name}
}

// GetParameters lists the names it does not know instead of failing.
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
func ssmGetParameters(c *call, in *ssm.GetParametersInput) (*ssm.GetParametersOutput, error) {
	out := &ssm.GetParametersOutput{}
	for _, name := range in.Names {
		if p := c.parameter(name); p != nil {
			out.Parameters = append(out.Parameters, *p)
		} else {
			out.InvalidParameters = append(out.InvalidParameters, name)
		}
	}
	return out, nil
}

// managed: the agent needs an instance profile, and a way out: an instance whose groups let nothing
// out answers nobody ("Setting up Systems Manager").
func (w *world) managed(i *instance) bool {
	if i.State != types.InstanceStateNameRunning || w.EC2.associationOf(i.ID) == nil {
		return false
	}
	for _, n := range w.EC2.interfacesOf(i.ID) {
		for _, g := range n.Groups {
			for _, r := range w.EC2.Groups[g].Rules {
				if r.Egress {
					return true
				}
			}
		}
	}
	return false
}

// Instances whose agent does not answer are left out here; AWS lists them as ConnectionLost for a while.
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeInstanceInformation.html
func ssmDescribeInstanceInformation(c *call, in *ssm.DescribeInstanceInformationInput) (*ssm.DescribeInstanceInformationOutput, error) {
	wanted := make(map[string]bool)
	for _, f := range in.Filters {
		if aws.ToString(f.Key) != "InstanceIds" {
			return nil, &ssmtypes.InvalidFilterKey{}
		}
		for _, id := range f.Values {
			wanted[id] = true
		}
	}
	out := &ssm.DescribeInstanceInformationOutput{}
	for _, i := range inOrder(c.ec2().Instances) {
		if len(in.Filters) > 0 && !wanted[i.ID] || !c.managed(i) {
			continue
		}
		out.InstanceInformationList = append(out.InstanceInformationList, ssmtypes.InstanceInformation{
			InstanceId: &i.ID, PingStatus: ssmtypes.PingStatusOnline, LastPingDateTime: &c.Now, AgentVersion: aws.String("3.3.3050.0"),
			PlatformType: ssmtypes.PlatformTypeLinux, PlatformName: aws.String("Amazon Linux"), PlatformVersion: aws.String("2023"),
			ResourceType: ssmtypes.ResourceTypeEc2Instance, IPAddress: &i.PrivateIP,
		})
	}
	return out, nil
}
