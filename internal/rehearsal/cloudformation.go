package rehearsal

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// cloudformationState is the account's stacks, oldest first, deleted ones too.
type cloudformationState struct {
	Stacks []*stack `json:"stacks,omitempty"`
}

func (ops operations) cloudformation() {
	on(ops, cloudformationCreateStack)
	on(ops, cloudformationDeleteStack)
	on(ops, cloudformationDescribeStacks)
	on(ops, cloudformationDescribeStackEvents)
	on(ops, cloudformationDescribeStackResources)
	on(ops, cloudformationListStackResources)
	on(ops, cloudformationGetTemplate)
	on(ops, cloudformationUpdateTerminationProtection)
	on(ops, cloudformationValidateTemplate)
}

// find finds a stack by its ARN, or one that is not deleted by its name.
func (s *cloudformationState) find(region, ref string) *stack {
	for _, st := range slices.Backward(s.Stacks) {
		if st.ID == ref || st.Region == region && st.Name == ref && st.Status != types.StackStatusDeleteComplete {
			return st
		}
	}
	return nil
}

func (c *call) stack(ref *string) (*stack, error) {
	if st := c.CloudFormation.find(c.region, aws.ToString(ref)); st != nil {
		return st, nil
	}
	return nil, cfnInvalid("Stack with id %s does not exist", aws.ToString(ref))
}

var stackName = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]{0,127}$`)

// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html: a stack's name is
// taken until it is deleted, also where its creation failed. Sending the request again with its
// ClientRequestToken answers with the stack that it made.
func cloudformationCreateStack(c *call, in *cloudformation.CreateStackInput) (*cloudformation.CreateStackOutput, error) {
	name := aws.ToString(in.StackName)
	if !stackName.MatchString(name) {
		return nil, cfnInvalid("1 validation error detected: Value '%s' at 'stackName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*", name)
	}
	if st := c.CloudFormation.find(c.region, name); st != nil {
		if st.Token != "" && st.Token == aws.ToString(in.ClientRequestToken) {
			return &cloudformation.CreateStackOutput{StackId: &st.ID}, nil
		}
		return nil, &types.AlreadyExistsException{Message: aws.String("Stack [" + name + "] already exists")}
	}
	t, err := parseTemplate(aws.ToString(in.TemplateBody))
	if err != nil {
		return nil, err
	}
	if err := t.acknowledged(in.Capabilities); err != nil {
		return nil, err
	}
	parameters, err := c.stackParameters(t, in.Parameters)
	if err != nil {
		return nil, err
	}
	s := &stack{
		Name: name, Region: c.region, Token: aws.ToString(in.ClientRequestToken), Template: *in.TemplateBody, Description: t.Description, Parameters: parameters,
		Capabilities: slices.Clone(in.Capabilities), Protected: aws.ToBool(in.EnableTerminationProtection), OnFailure: in.OnFailure, Created: c.Now,
		Tags: make(map[string]string), ID: fmt.Sprintf("arn:aws:cloudformation:%s:%s:stack/%s/", c.region, c.Account, name),
	}
	for _, tag := range in.Tags {
		s.Tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	if aws.ToBool(in.DisableRollback) {
		s.OnFailure = types.OnFailureDoNothing
	}
	if err := s.declare(&cfnScope{call: c, template: t, stack: s}); err != nil {
		return nil, err
	}
	s.ID += c.uuid()
	s.enter(c.world, types.StackStatusCreateInProgress, "User Initiated")
	c.CloudFormation.Stacks = append(c.CloudFormation.Stacks, s)
	return &cloudformation.CreateStackOutput{StackId: &s.ID}, nil
}

// declare lists the resources whose conditions hold.
func (s *stack) declare(x *cfnScope) error {
	order, err := x.template.order()
	if err != nil {
		return err
	}
	for _, logical := range order {
		r := x.template.Resources[logical]
		if r.Condition != "" {
			if holds, err := x.condition(r.Condition); err != nil {
				return err
			} else if !holds {
				continue
			}
		}
		s.Resources = append(s.Resources, &stackResource{Logical: logical, Type: r.Type, Kept: strings.HasPrefix(r.DeletionPolicy, "Retain"), KeptOnRollback: r.DeletionPolicy == "Retain"})
	}
	return nil
}

// acknowledged: a template that makes IAM resources needs the caller's word for it
// (API_CreateStack.html, Capabilities).
func (t *cfnTemplate) acknowledged(given []types.Capability) error {
	need := types.Capability("")
	for _, r := range t.Resources {
		if !strings.HasPrefix(r.Type, "AWS::IAM::") {
			continue
		}
		if need == "" {
			need = types.CapabilityCapabilityIam
		}
		if r.Type == "AWS::IAM::Role" && r.Properties["RoleName"] != nil || r.Properties["InstanceProfileName"] != nil {
			need = types.CapabilityCapabilityNamedIam
		}
	}
	if need == "" || slices.Contains(given, need) || slices.Contains(given, types.CapabilityCapabilityNamedIam) {
		return nil
	}
	return &types.InsufficientCapabilitiesException{Message: aws.String(fmt.Sprintf("Requires capabilities : [%s]", need))}
}

// stackParameters checks what was given against the template and fills in the defaults.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
func (c *call) stackParameters(t *cfnTemplate, given []types.Parameter) ([]stackParameter, error) {
	values := make(map[string]string)
	var unknown, missing []string
	for _, p := range given {
		key := aws.ToString(p.ParameterKey)
		if _, ok := t.Parameters[key]; !ok {
			unknown = append(unknown, key)
		}
		values[key] = aws.ToString(p.ParameterValue)
	}
	var all []stackParameter
	for _, key := range sortedKeys(t.Parameters) {
		declared := t.Parameters[key]
		value, ok := values[key]
		if !ok && declared.Default == nil {
			missing = append(missing, key)
			continue
		}
		if !ok {
			value = fmt.Sprint(declared.Default)
		}
		if err := declared.allows(key, value); err != nil {
			return nil, err
		}
		p := stackParameter{Key: key, Value: value, Hidden: fmt.Sprint(declared.NoEcho) == "true"}
		if strings.HasPrefix(declared.Type, "AWS::SSM::Parameter::Value<") {
			out, err := ssmGetParameter(c, &ssm.GetParameterInput{Name: &value})
			if err != nil {
				return nil, cfnInvalid("Unable to fetch parameters [%s] from parameter store for this account.", value)
			}
			p.Resolved = aws.ToString(out.Parameter.Value)
		}
		all = append(all, p)
	}
	switch {
	case len(unknown) > 0:
		return nil, cfnInvalid("Parameters: [%s] do not exist in the template", strings.Join(unknown, ", "))
	case len(missing) > 0:
		return nil, cfnInvalid("Parameters: [%s] must have values", strings.Join(missing, ", "))
	}
	return all, nil
}

func (p cfnParameter) allows(key, value string) error {
	if len(p.AllowedValues) > 0 && !slices.Contains(texts(p.AllowedValues), value) {
		return cfnInvalid("Parameter '%s' must be one of AllowedValues", key)
	}
	if p.AllowedPattern == "" {
		return nil
	}
	pattern, err := regexp.Compile("^(?:" + p.AllowedPattern + ")$")
	if err != nil {
		return cfnInvalid("Parameter '%s' has an AllowedPattern that is no regular expression: %v", key, err)
	}
	if !pattern.MatchString(value) {
		return cfnInvalid("Parameter '%s' must match pattern %s", key, p.AllowedPattern)
	}
	return nil
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DeleteStack.html: a stack that is not
// there is no error; RetainResources is for a stack whose deletion has failed.
func cloudformationDeleteStack(c *call, in *cloudformation.DeleteStackInput) (*cloudformation.DeleteStackOutput, error) {
	s := c.CloudFormation.find(c.region, aws.ToString(in.StackName))
	if s == nil || s.Status == types.StackStatusDeleteComplete || s.Status == types.StackStatusDeleteInProgress {
		return &cloudformation.DeleteStackOutput{}, nil
	}
	if s.Protected {
		return nil, cfnInvalid("Stack [%s] cannot be deleted while TerminationProtection is enabled", s.Name)
	}
	if len(in.RetainResources) > 0 && s.Status != types.StackStatusDeleteFailed {
		return nil, cfnInvalid("Invalid operation on stack [%s]. When you delete a stack, specify which resources to retain only when the stack is in the DELETE_FAILED state.", s.ID)
	}
	for _, r := range s.Resources {
		if r.Status == types.ResourceStatusDeleteFailed {
			r.Status = types.ResourceStatusCreateComplete // to be tried again
			r.Kept = r.Kept || slices.Contains(in.RetainResources, r.Logical)
		}
	}
	s.enter(c.world, types.StackStatusDeleteInProgress, "User Initiated")
	return &cloudformation.DeleteStackOutput{}, nil
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html: a deleted stack is
// found by its ARN only; one that never was is a ValidationError.
func cloudformationDescribeStacks(c *call, in *cloudformation.DescribeStacksInput) (*cloudformation.DescribeStacksOutput, error) {
	out := &cloudformation.DescribeStacksOutput{}
	if in.StackName != nil {
		s, err := c.stack(in.StackName)
		if err != nil {
			return nil, err
		}
		out.Stacks = append(out.Stacks, s.show())
		return out, nil
	}
	for _, s := range slices.Backward(c.CloudFormation.Stacks) {
		if s.Region == c.region && s.Status != types.StackStatusDeleteComplete {
			out.Stacks = append(out.Stacks, s.show())
		}
	}
	return out, nil
}

func (s *stack) show() types.Stack {
	out := types.Stack{
		StackId: &s.ID, StackName: &s.Name, Description: nilIfEmpty(s.Description), StackStatus: s.Status, StackStatusReason: nilIfEmpty(s.Reason), CreationTime: &s.Created,
		DeletionTime: s.Deleted, LastUpdatedTime: s.Updated, Capabilities: s.Capabilities, EnableTerminationProtection: aws.Bool(s.Protected),
		DisableRollback: aws.Bool(s.OnFailure == types.OnFailureDoNothing), RollbackConfiguration: &types.RollbackConfiguration{},
		DriftInformation: &types.StackDriftInformation{StackDriftStatus: types.StackDriftStatusNotChecked},
	}
	for _, p := range s.Parameters {
		shown := types.Parameter{ParameterKey: aws.String(p.Key), ParameterValue: aws.String(p.Value), ResolvedValue: nilIfEmpty(p.Resolved)}
		if p.Hidden {
			shown.ParameterValue = aws.String("****")
		}
		out.Parameters = append(out.Parameters, shown)
	}
	for _, key := range sortedKeys(s.Tags) {
		out.Tags = append(out.Tags, types.Tag{Key: aws.String(key), Value: aws.String(s.Tags[key])})
	}
	for _, o := range s.Outputs {
		out.Outputs = append(out.Outputs, types.Output{OutputKey: aws.String(o.Key), OutputValue: aws.String(o.Value), Description: nilIfEmpty(o.Description)})
	}
	return out
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackEvents.html: newest first.
func cloudformationDescribeStackEvents(c *call, in *cloudformation.DescribeStackEventsInput) (*cloudformation.DescribeStackEventsOutput, error) {
	s, err := c.stack(in.StackName)
	if err != nil {
		return nil, err
	}
	out := &cloudformation.DescribeStackEventsOutput{}
	for _, e := range slices.Backward(s.Events) {
		out.StackEvents = append(out.StackEvents, types.StackEvent{
			EventId: &e.ID, StackId: &s.ID, StackName: &s.Name, Timestamp: &e.Time, LogicalResourceId: &e.Logical, PhysicalResourceId: &e.Physical,
			ResourceType: &e.Type, ResourceStatus: types.ResourceStatus(e.Status), ResourceStatusReason: nilIfEmpty(e.Reason), ClientRequestToken: nilIfEmpty(s.Token),
		})
	}
	return out, nil
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackResources.html
func cloudformationDescribeStackResources(c *call, in *cloudformation.DescribeStackResourcesInput) (*cloudformation.DescribeStackResourcesOutput, error) {
	s, err := c.stack(in.StackName)
	if err != nil {
		return nil, err
	}
	out := &cloudformation.DescribeStackResourcesOutput{}
	for _, r := range s.begun() {
		if in.LogicalResourceId != nil && r.Logical != *in.LogicalResourceId {
			continue
		}
		out.StackResources = append(out.StackResources, types.StackResource{
			StackId: &s.ID, StackName: &s.Name, LogicalResourceId: aws.String(r.Logical), PhysicalResourceId: nilIfEmpty(r.Physical), ResourceType: aws.String(r.Type),
			ResourceStatus: r.Status, ResourceStatusReason: nilIfEmpty(r.Reason), Timestamp: aws.Time(r.Changed),
		})
	}
	return out, nil
}

// begun are the resources that have at least been started.
func (s *stack) begun() []*stackResource {
	return slices.DeleteFunc(slices.Clone(s.Resources), func(r *stackResource) bool { return r.Status == "" })
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStackResources.html
func cloudformationListStackResources(c *call, in *cloudformation.ListStackResourcesInput) (*cloudformation.ListStackResourcesOutput, error) {
	s, err := c.stack(in.StackName)
	if err != nil {
		return nil, err
	}
	out := &cloudformation.ListStackResourcesOutput{}
	for _, r := range s.begun() {
		out.StackResourceSummaries = append(out.StackResourceSummaries, types.StackResourceSummary{
			LogicalResourceId: aws.String(r.Logical), PhysicalResourceId: nilIfEmpty(r.Physical), ResourceType: aws.String(r.Type),
			ResourceStatus: r.Status, ResourceStatusReason: nilIfEmpty(r.Reason), LastUpdatedTimestamp: aws.Time(r.Changed),
		})
	}
	return out, nil
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_GetTemplate.html
func cloudformationGetTemplate(c *call, in *cloudformation.GetTemplateInput) (*cloudformation.GetTemplateOutput, error) {
	s, err := c.stack(in.StackName)
	if err != nil {
		return nil, err
	}
	return &cloudformation.GetTemplateOutput{TemplateBody: &s.Template, StagesAvailable: []types.TemplateStage{types.TemplateStageOriginal, types.TemplateStageProcessed}}, nil
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_UpdateTerminationProtection.html
func cloudformationUpdateTerminationProtection(c *call, in *cloudformation.UpdateTerminationProtectionInput) (*cloudformation.UpdateTerminationProtectionOutput, error) {
	s, err := c.stack(in.StackName)
	if err != nil {
		return nil, err
	}
	if s.Status == types.StackStatusDeleteInProgress || s.Status == types.StackStatusDeleteComplete {
		return nil, cfnInvalid("TerminationProtection can not be updated on Stack [%s] since it is in state %s", s.Name, s.Status)
	}
	s.Protected = aws.ToBool(in.EnableTerminationProtection)
	return &cloudformation.UpdateTerminationProtectionOutput{StackId: &s.ID}, nil
}

// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ValidateTemplate.html
func cloudformationValidateTemplate(_ *call, in *cloudformation.ValidateTemplateInput) (*cloudformation.ValidateTemplateOutput, error) {
	t, err := parseTemplate(aws.ToString(in.TemplateBody))
	if err != nil {
		return nil, err
	}
	out := &cloudformation.ValidateTemplateOutput{Description: nilIfEmpty(t.Description)}
	for _, key := range sortedKeys(t.Parameters) {
		p := t.Parameters[key]
		shown := types.TemplateParameter{ParameterKey: aws.String(key), Description: nilIfEmpty(p.Description), NoEcho: aws.Bool(fmt.Sprint(p.NoEcho) == "true")}
		if p.Default != nil {
			shown.DefaultValue = aws.String(fmt.Sprint(p.Default))
		}
		out.Parameters = append(out.Parameters, shown)
	}
	if t.acknowledged(nil) != nil {
		out.Capabilities = []types.Capability{types.CapabilityCapabilityIam}
		if t.acknowledged(out.Capabilities) != nil {
			out.Capabilities = []types.Capability{types.CapabilityCapabilityNamedIam}
		}
		out.CapabilitiesReason = aws.String("The following resource(s) require capabilities: [AWS::IAM::Role, AWS::IAM::InstanceProfile]")
	}
	return out, nil
}
