package rehearsal

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func (ops operations) launchTemplates() {
	ec2On(ops, ec2DescribeLaunchTemplateVersions)
	on(ops, autoscalingDescribeInstanceRefreshes)
}

// ec2DescribeLaunchTemplateVersions: API_DescribeLaunchTemplateVersions. The
// templates are those of the Auto Scaling groups, each with one version, which is the default and the latest.
func ec2DescribeLaunchTemplateVersions(c *call, in *ec2.DescribeLaunchTemplateVersionsInput) (*ec2.DescribeLaunchTemplateVersionsOutput, error) {
	for _, g := range c.AutoScaling.Groups {
		t := g.Template
		if c.region != c.Region || t.ID != aws.ToString(in.LaunchTemplateId) && t.Name != aws.ToString(in.LaunchTemplateName) {
			continue
		}
		for _, v := range in.Versions {
			if !slices.Contains([]string{t.Version, "$Latest", "$Default"}, v) {
				return nil, apiError("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version "+v+" for the launch template with ID "+t.ID+".")
			}
		}
		return &ec2.DescribeLaunchTemplateVersionsOutput{LaunchTemplateVersions: []types.LaunchTemplateVersion{t.version(g)}}, nil
	}
	if in.LaunchTemplateId != nil {
		return nil, apiError("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID "+*in.LaunchTemplateId+", does not exist.")
	}
	return nil, apiError("InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with template name "+aws.ToString(in.LaunchTemplateName)+", does not exist.")
}

func (t launchTemplate) version(g *scalingGroup) types.LaunchTemplateVersion {
	n, err := strconv.ParseInt(t.Version, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("rehearsal: launch template %s: %v", t.Name, err)) // a scenario's mistake
	}
	data := &types.ResponseLaunchTemplateData{
		ImageId: &t.Spec.Image, InstanceType: types.InstanceType(t.Spec.Type), SecurityGroupIds: t.Spec.Groups, KeyName: nilIfEmpty(t.Spec.KeyName),
	}
	if t.Spec.Profile != "" {
		data.IamInstanceProfile = &types.LaunchTemplateIamInstanceProfileSpecification{Name: &t.Spec.Profile}
	}
	return types.LaunchTemplateVersion{
		LaunchTemplateId: &t.ID, LaunchTemplateName: &t.Name, VersionNumber: &n, DefaultVersion: aws.Bool(true), CreateTime: &g.Created, LaunchTemplateData: data,
	}
}

// There is never one: instance refresh is not simulated.
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeInstanceRefreshes.html
func autoscalingDescribeInstanceRefreshes(c *call, in *autoscaling.DescribeInstanceRefreshesInput) (*autoscaling.DescribeInstanceRefreshesOutput, error) {
	if _, err := c.scalingGroup(in.AutoScalingGroupName); err != nil {
		return nil, err
	}
	return &autoscaling.DescribeInstanceRefreshesOutput{InstanceRefreshes: []astypes.InstanceRefresh{}}, nil
}
