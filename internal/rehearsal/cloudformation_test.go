package rehearsal

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func stackClient(t *testing.T, build ...func(*world)) (*Account, *cloudformation.Client) {
	t.Helper()
	a := emptyAccount(t, build...)
	return a, cloudformation.NewFromConfig(a.Config("eu-central-1"))
}

// settled waits until the stack is in no passing state.
func settled(t *testing.T, a *Account, client *cloudformation.Client, ref string) types.Stack {
	t.Helper()
	for range 200 {
		sleep(t, a, 10*time.Second)
		out, err := client.DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{StackName: &ref})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(string(out.Stacks[0].StackStatus), "_IN_PROGRESS") {
			return out.Stacks[0]
		}
	}
	t.Fatal("the stack never settled")
	return types.Stack{}
}

func wantStatus(t *testing.T, client *cloudformation.Client, s types.Stack, want types.StackStatus) {
	t.Helper()
	if s.StackStatus == want {
		return
	}
	t.Errorf("status %s, want %s", s.StackStatus, want)
	out, err := client.DescribeStackEvents(t.Context(), &cloudformation.DescribeStackEventsInput{StackName: s.StackId})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range out.StackEvents {
		t.Logf("%s %s %s", aws.ToString(e.LogicalResourceId), e.ResourceStatus, aws.ToString(e.ResourceStatusReason))
	}
	t.FailNow()
}

const networkTemplate = `
Parameters:
  Range: {Type: String, Default: 10.9.0.0/16, AllowedPattern: '[0-9./]+'}
  Open: {Type: String, Default: 'no', AllowedValues: ['yes', 'no']}
Conditions:
  IsOpen: !Equals [!Ref Open, 'yes']
Resources:
  Net:
    Type: AWS::EC2::VPC
    Properties: {CidrBlock: !Ref Range, EnableDnsSupport: true}
  Sub:
    Type: AWS::EC2::Subnet
    Properties:
      VpcId: !Ref Net
      CidrBlock: 10.9.1.0/24
      AvailabilityZone: !Select [1, !GetAZs '']
  Closed:
    Type: AWS::EC2::SecurityGroup
    Properties:
      GroupDescription: !Sub '${AWS::StackName} in ${Net.CidrBlock}, ${!not} a variable'
      VpcId: !GetAtt Net.VpcId
      SecurityGroupEgress:
        - {IpProtocol: tcp, FromPort: '443', ToPort: 443, CidrIp: 10.9.1.0/24}
  Way:
    Type: AWS::EC2::SecurityGroupIngress
    Condition: IsOpen
    Properties: {GroupId: !Ref Closed, IpProtocol: tcp, FromPort: 22, ToPort: 22, CidrIp: 0.0.0.0/0}
Outputs:
  Zone: {Value: !GetAtt Sub.AvailabilityZone}
  Names: {Value: !Join ['-', [!Ref 'AWS::Region', !If [IsOpen, open, closed]]]}
`

func createStack(t *testing.T, client *cloudformation.Client, template string, change ...func(*cloudformation.CreateStackInput)) string {
	t.Helper()
	in := &cloudformation.CreateStackInput{
		StackName: aws.String("room"), TemplateBody: &template, ClientRequestToken: aws.String("token-1"),
		Tags: []types.Tag{{Key: aws.String("case"), Value: aws.String("C-1")}},
	}
	for _, c := range change {
		c(in)
	}
	out, err := client.CreateStack(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return *out.StackId
}

func TestAStackBecomesRealAndGoesAgain(t *testing.T) {
	a, client := stackClient(t)
	id := createStack(t, client, networkTemplate)
	s := settled(t, a, client, id)
	wantStatus(t, client, s, types.StackStatusCreateComplete)
	outputs := make(map[string]string)
	for _, o := range s.Outputs {
		outputs[*o.OutputKey] = *o.OutputValue
	}
	if want := map[string]string{"Zone": "eu-central-1b", "Names": "eu-central-1-closed"}; !maps.Equal(outputs, want) {
		t.Fatalf("outputs %v", outputs)
	}
	look(t, a, func(w *world) {
		group := w.CloudFormation.find("eu-central-1", "room").resource("Closed").Physical
		g := w.EC2.Groups[group]
		if g.Description != "room in 10.9.0.0/16, ${not} a variable" {
			t.Errorf("description %q", g.Description)
		}
		if len(g.Rules) != 1 || g.Rules[0].From != 443 || !g.Rules[0].Egress {
			t.Errorf("rules %+v: an egress rule in the template replaces the one that lets everything out", g.Rules)
		}
		if tags := w.tags(group); tags["case"] != "C-1" || tags["aws:cloudformation:logical-id"] != "Closed" {
			t.Errorf("tags %v", tags)
		}
	})
	if _, err := client.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: aws.String("room")}); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, client, settled(t, a, client, id), types.StackStatusDeleteComplete)
	look(t, a, func(w *world) {
		if len(w.EC2.VPCs)+len(w.EC2.Subnets)+len(w.EC2.Groups) != 0 {
			t.Error("something of the stack is left")
		}
	})
	_, err := client.DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{StackName: aws.String("room")})
	wantCode(t, err, "ValidationError") // by its name it is gone
}

func look(t *testing.T, a *Account, at func(*world)) {
	t.Helper()
	if err := a.with(func(w *world) bool { at(w); return false }); err != nil {
		t.Fatal(err)
	}
}

func TestAStackIsCreatedOnceForOneToken(t *testing.T) {
	_, client := stackClient(t)
	first := createStack(t, client, networkTemplate)
	if again := createStack(t, client, networkTemplate); again != first {
		t.Fatalf("made %s, then %s", first, again)
	}
	_, err := client.CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: aws.String("room"), TemplateBody: aws.String(networkTemplate), ClientRequestToken: aws.String("token-2")})
	wantCode(t, err, "AlreadyExistsException")
}

func TestAResourceThatFailsRollsTheStackBack(t *testing.T) {
	for name, test := range map[string]struct {
		template string
		denied   string
		reason   string
	}{
		"unknown type":               {strings.Replace(networkTemplate, "Type: AWS::EC2::SecurityGroup\n", "Type: AWS::EC2::TransitGateway\n", 1), "", "no resource type"},
		"unknown property":           {strings.Replace(networkTemplate, "EnableDnsSupport", "EnableDnsSuport", 1), "", "extraneous key [EnableDnsSuport]"},
		"properties of another kind": {"Resources: {Net: {Type: 'AWS::EC2::VPC', Properties: !Ref 'AWS::Region'}}", "", "expected type: JSONObject"},
		"missing permission":         {networkTemplate, "ec2:CreateSubnet", "not authorized"},
		"refused by EC2":             {strings.Replace(networkTemplate, "10.9.1.0/24\n      AvailabilityZone", "10.8.1.0/24\n      AvailabilityZone", 1), "", "CIDR"},
	} {
		t.Run(name, func(t *testing.T) {
			a, client := stackClient(t, func(w *world) { w.Denied = append(w.Denied, test.denied) })
			id := createStack(t, client, test.template)
			wantStatus(t, client, settled(t, a, client, id), types.StackStatusRollbackComplete)
			look(t, a, func(w *world) {
				if len(w.EC2.VPCs) != 0 {
					t.Error("the VPC is left")
				}
			})
			out, err := client.DescribeStackEvents(t.Context(), &cloudformation.DescribeStackEventsInput{StackName: &id})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(out.StackEvents, func(e types.StackEvent) bool { return e.ResourceStatus == types.ResourceStatusCreateFailed })
			if i < 0 || !strings.Contains(*out.StackEvents[i].ResourceStatusReason, test.reason) {
				t.Fatalf("no event says %q", test.reason)
			}
		})
	}
}

func TestAStackWhoseGroupIsInUseCannotBeDeleted(t *testing.T) {
	a, client := stackClient(t)
	id := createStack(t, client, networkTemplate)
	settled(t, a, client, id)
	var outside string
	look(t, a, func(w *world) {
		s := w.CloudFormation.find("eu-central-1", "room")
		c := w.call("ec2")
		n := c.makeServiceInterface(w.EC2.Subnets[s.resource("Sub").Physical].ID, []string{s.resource("Closed").Physical}, ec2types.NetworkInterfaceTypeInterface, "from outside")
		outside = n.ID
	})
	remove := &cloudformation.DeleteStackInput{StackName: &id}
	if _, err := client.DeleteStack(t.Context(), remove); err != nil {
		t.Fatal(err)
	}
	s := settled(t, a, client, id)
	wantStatus(t, client, s, types.StackStatusDeleteFailed)
	if !strings.Contains(*s.StackStatusReason, "Closed") {
		t.Fatalf("reason %q", *s.StackStatusReason)
	}
	look(t, a, func(w *world) { w.EC2.dropInterface(w.EC2.Interfaces[outside]) })
	if _, err := client.DeleteStack(t.Context(), remove); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, client, settled(t, a, client, id), types.StackStatusDeleteComplete)
}

func TestTerminationProtectionRefusesDeletion(t *testing.T) {
	a, client := stackClient(t)
	id := createStack(t, client, networkTemplate, func(in *cloudformation.CreateStackInput) { in.EnableTerminationProtection = aws.Bool(true) })
	settled(t, a, client, id)
	_, err := client.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: &id})
	wantCode(t, err, "ValidationError")
	if _, err := client.UpdateTerminationProtection(t.Context(), &cloudformation.UpdateTerminationProtectionInput{StackName: &id, EnableTerminationProtection: aws.Bool(false)}); err != nil {
		t.Fatal(err)
	}
	_, err = client.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: &id})
	wantCode(t, err, "")
}

func TestATemplateThatDoesNotFitTogetherIsRefused(t *testing.T) {
	_, client := stackClient(t)
	for name, test := range map[string]struct{ template, message string }{
		"empty":            {"{}", "At least one Resources member"},
		"not YAML":         {"Resources: [", "Template format error"},
		"unresolved":       {"Resources: {A: {Type: 'AWS::EC2::VPC', Properties: {CidrBlock: !Ref B}}}", "Unresolved resource dependencies [B]"},
		"unresolved Sub":   {"Resources: {A: {Type: 'AWS::EC2::VPC', Properties: {CidrBlock: !Sub '${B.C}'}}}", "Unresolved resource dependencies [B]"},
		"circular":         {"Resources: {A: {Type: 'AWS::EC2::VPC', DependsOn: B}, B: {Type: 'AWS::EC2::VPC', DependsOn: A}}", "Circular dependency"},
		"unknown section":  {"Resource: {}", "Template format error"},
		"unrecognized":     {"Resources: {A: {Type: 'Nobody::Has::It'}}", "Unrecognized resource types: [Nobody::Has::It]"},
		"missing value":    {"Parameters: {P: {Type: String}}\nResources: {A: {Type: 'AWS::EC2::VPC'}}", "Parameters: [P] must have values"},
		"no such value":    {"Parameters: {P: {Type: String, Default: c, AllowedValues: [a, b]}}\nResources: {A: {Type: 'AWS::EC2::VPC'}}", "must be one of AllowedValues"},
		"not acknowledged": {"Resources: {A: {Type: 'AWS::IAM::Role'}}", "Requires capabilities : [CAPABILITY_IAM]"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: aws.String("room"), TemplateBody: &test.template})
			if err == nil || !strings.Contains(err.Error(), test.message) {
				t.Fatalf("got %v, want %q", err, test.message)
			}
		})
	}
}

// The clean room's own template must become what it says.
func TestTheCleanRoomCanBeBuilt(t *testing.T) {
	template, err := os.ReadFile("../../cleanroom/template.json")
	if err != nil {
		t.Fatal(err)
	}
	a, client := stackClient(t)
	id := createStack(t, client, string(template), func(in *cloudformation.CreateStackInput) {
		in.Capabilities = []types.Capability{types.CapabilityCapabilityIam}
		in.Parameters = []types.Parameter{
			{ParameterKey: aws.String("CaseId"), ParameterValue: aws.String("C-1")},
			{ParameterKey: aws.String("Zone"), ParameterValue: aws.String("eu-central-1b")},
			{ParameterKey: aws.String("S3PrefixList"), ParameterValue: aws.String(prefixList("com.amazonaws.eu-central-1.s3"))},
		}
	})
	s := settled(t, a, client, id)
	wantStatus(t, client, s, types.StackStatusCreateComplete)
	if took := a.Clock().Now().Sub(*s.CreationTime); took < time.Minute || took > 10*time.Minute {
		t.Errorf("it took %s", took)
	}
	look(t, a, func(w *world) {
		i := w.instance(w.CloudFormation.find("eu-central-1", "room").resource("Examiner").Physical)
		if i == nil || i.State != ec2types.InstanceStateNameRunning {
			t.Fatalf("the examination instance: %+v", i)
		}
		for _, v := range w.EC2.volumesOf(i.ID) {
			if w.tags(v.ID)["case"] != "C-1" {
				t.Errorf("volume %s has not the stack's tags", v.ID)
			}
		}
	})
	if _, err := client.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: &id}); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, client, settled(t, a, client, id), types.StackStatusDeleteComplete)
	look(t, a, func(w *world) {
		if len(w.EC2.VPCs)+len(w.EC2.Groups)+len(w.EC2.Endpoints) != 0 {
			t.Error("something of the clean room is left")
		}
	})
}

// Whatever stands in a template, reading it ends in a template or an error, and every resource comes
// once, after what it needs.
func FuzzParseTemplate(f *testing.F) {
	f.Add(networkTemplate)
	f.Add("Resources: {A: {Type: 'AWS::EC2::VPC', Properties: !Ref A}}")
	f.Add("Resources: {A: {Type: 'AWS::EC2::VPC', Properties: {X: !Sub [1, 2, 3]}}}")
	f.Add("Resources: {A: {Type: 'AWS::EC2::VPC', DependsOn: [[B]], Properties: {X: !GetAtt []}}}")
	f.Add("{\"Resources\": null}")
	f.Fuzz(func(t *testing.T, body string) {
		template, err := parseTemplate(body)
		if err != nil {
			return
		}
		order, err := template.order()
		if err != nil || len(order) != len(template.Resources) {
			t.Fatalf("%d of %d resources in order, %v", len(order), len(template.Resources), err)
		}
		for i, name := range order {
			for _, need := range dependsOn(template.Resources[name]) {
				if j := slices.Index(order, need); j > i {
					t.Fatalf("%s comes before %s", name, need)
				}
			}
		}
	})
}
