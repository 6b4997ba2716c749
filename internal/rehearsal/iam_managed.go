package rehearsal

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// managedPolicy is one of the account's own, in its only version. Of AWS's own nothing is known but that they exist.
type managedPolicy struct {
	Name     string    `json:"name"`
	Path     string    `json:"path"`
	ID       string    `json:"id"`
	Created  time.Time `json:"created"`
	Document string    `json:"document"`
}

const (
	managedPolicySize = 6_144 // characters, white space not counted
	onlyVersion       = "v1"
)

func (ops operations) iamManagedPolicies() {
	on(ops, iamCreatePolicy)
	on(ops, iamGetPolicy)
	on(ops, iamGetPolicyVersion)
}

// aws: API_Policy.
func (p *managedPolicy) aws(w *world, arn string) *types.Policy {
	attached := int32(0)
	for _, r := range w.IAM.Roles {
		for _, a := range r.Attached {
			if a == arn {
				attached++
			}
		}
	}
	return &types.Policy{
		Arn: &arn, PolicyName: &p.Name, PolicyId: &p.ID, Path: &p.Path, CreateDate: &p.Created, UpdateDate: &p.Created,
		DefaultVersionId: aws.String(onlyVersion), AttachmentCount: &attached, PermissionsBoundaryUsageCount: aws.Int32(0), IsAttachable: true,
	}
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicy.html
func iamCreatePolicy(c *call, in *iam.CreatePolicyInput) (*iam.CreatePolicyOutput, error) {
	p := &managedPolicy{Name: aws.ToString(in.PolicyName), Path: valueOr(in.Path, "/"), Created: c.Now, Document: aws.ToString(in.PolicyDocument)}
	if err := checkIAMName("policyName", p.Name, 128); err != nil {
		return nil, err
	}
	if err := checkRolePolicy(p.Document); err != nil {
		return nil, err
	}
	if policySize(p.Document) > managedPolicySize {
		return nil, iamLimit("Cannot exceed quota for PolicySize: %d", managedPolicySize)
	}
	arn := "arn:aws:iam::" + c.Account + ":policy" + p.Path + p.Name
	if c.IAM.Policies[arn] != nil {
		return nil, iamExists("A policy called %s already exists. Duplicate names are not allowed.", p.Name)
	}
	p.ID = c.iamID("ANPA")
	put(&c.IAM.Policies, arn, p)
	return &iam.CreatePolicyOutput{Policy: p.aws(c.world, arn)}, nil
}

func (w *world) managedPolicy(arn *string) (*managedPolicy, error) {
	if p := w.IAM.Policies[aws.ToString(arn)]; p != nil {
		return p, nil
	}
	return nil, noSuchEntity("Policy %s was not found.", aws.ToString(arn))
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetPolicy.html
func iamGetPolicy(c *call, in *iam.GetPolicyInput) (*iam.GetPolicyOutput, error) {
	p, err := c.managedPolicy(in.PolicyArn)
	if err != nil {
		return nil, err
	}
	return &iam.GetPolicyOutput{Policy: p.aws(c.world, *in.PolicyArn)}, nil
}

// https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetPolicyVersion.html
func iamGetPolicyVersion(c *call, in *iam.GetPolicyVersionInput) (*iam.GetPolicyVersionOutput, error) {
	p, err := c.managedPolicy(in.PolicyArn)
	if err != nil {
		return nil, err
	}
	if id := aws.ToString(in.VersionId); id != onlyVersion {
		return nil, noSuchEntity("Policy %s version %s does not exist or is not attachable.", *in.PolicyArn, id)
	}
	return &iam.GetPolicyVersionOutput{PolicyVersion: &types.PolicyVersion{
		VersionId: aws.String(onlyVersion), IsDefaultVersion: true, CreateDate: &p.Created, Document: aws.String(encodeDocument(p.Document)),
	}}, nil
}
