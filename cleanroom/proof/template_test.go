package proof

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func launched(parameters map[string]string) Launch {
	return Launch{Account: ours, Region: "eu-west-1", Partition: "aws", Stack: "room", Parameters: parameters}
}

func TestIntrinsicFunctionsAreWorkedOutAsFarAsTheLaunchIsKnown(t *testing.T) {
	for expression, want := range map[string]string{
		`{"Ref": "Given"}`:                                              `"here"`,
		`{"Ref": "Default"}`:                                            `"7"`,
		`{"Ref": "Vpc"}`:                                                `"Vpc"`,
		`{"Ref": "AWS::Region"}`:                                        `"eu-west-1"`,
		`{"Fn::GetAtt": ["Vpc", "VpcId"]}`:                              `"Vpc"`,
		`{"Fn::GetAtt": "Vpc.CidrBlock"}`:                               `"Vpc.CidrBlock"`,
		`{"Fn::GetAtt": ["Role", "Arn"]}`:                               `"arn:aws:iam::111122223333:role/room-Role"`,
		`{"Fn::GetAtt": ["Log", "Arn"]}`:                                `"arn:aws:logs:eu-west-1:111122223333:log-group:/named/here:*"`,
		`{"Fn::Sub": "${Given}-${!Given}-${Vpc}"}`:                      `"here-${Given}-Vpc"`,
		`{"Fn::Sub": ["${A}", {"A": {"Ref": "Given"}}]}`:                `"here"`,
		`{"Fn::If": ["Holds", "yes", {"Ref": "Missing"}]}`:              `"yes"`,
		`{"Fn::If": ["Not", "yes", "no"]}`:                              `"no"`,
		`["a", {"Fn::If": ["Not", "b", {"Ref": "AWS::NoValue"}]}, "c"]`: `["a","c"]`,
		`{"Fn::Join": ["-", ["a", {"Fn::Select": ["1", ["b", "c"]]}]]}`: `"a-c"`,
		`{"Fn::Select": [0, {"Fn::Split": ["/", "x/y"]}]}`:              `"x"`,
		`{"Fn::FindInMap": ["Map", {"Ref": "AWS::Region"}, "size"]}`:    `"small"`,
		`{"Fn::Base64": "x"}`:                                           `"eA=="`,
		`{"Ref": "Missing"}`:                                            `!Missing`,
		`{"Ref": "NoValue"}`:                                            `!no value`,
		`{"Fn::ImportValue": "other-stack"}`:                            `!ImportValue`,
		`{"Fn::Transform": {"Name": "AWS::Include"}}`:                   `!Transform`,
		`{"Fn::If": ["Unheard", "yes", "no"]}`:                          `!Unheard`,
	} {
		text := `{"Parameters": {"Given": {"Default": "x"}, "Default": {"Default": 7}, "NoValue": {}},
			"Mappings": {"Map": {"eu-west-1": {"size": "small"}}},
			"Conditions": {"Holds": {"Fn::Equals": [{"Ref": "Given"}, "here"]}, "Not": {"Fn::Not": [{"Condition": "Holds"}]}},
			"Resources": {"Vpc": {"Type": "AWS::EC2::VPC"}, "Role": {"Type": "AWS::IAM::Role"},
				"Log": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": {"Fn::Sub": "/named/${Given}"}}}}}`
		var tpl template
		if err := json.Unmarshal([]byte(text), &tpl); err != nil {
			t.Fatal(err)
		}
		tpl.launch = launched(map[string]string{"Given": "here"})
		var v any
		if err := json.Unmarshal([]byte(expression), &v); err != nil {
			t.Fatal(err)
		}
		got, err := tpl.value(v)
		if failure, ok := strings.CutPrefix(want, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), failure) {
				t.Errorf("%s: got %v, %v", expression, got, err)
			}
			continue
		}
		if err != nil || compactJSON(got) != want {
			t.Errorf("%s: got %s, %v; want %s", expression, compactJSON(got), err, want)
		}
	}
}

// What the reader can't see through is a way out, never nothing.
func TestWhatIsNotKnownIsNotProven(t *testing.T) {
	const network = `"Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/24"}}`
	for name, c := range map[string]struct{ text, resource, reason string }{
		"a type of its own":      {`{"Resources": {` + network + `, "X": {"Type": "Custom::Tunnel"}}}`, "X", "Custom::Tunnel"},
		"a value that is not in": {`{"Resources": {` + network + `, "X": {"Type": "AWS::EC2::Route", "Properties": {"GatewayId": {"Fn::ImportValue": "gateway"}}}}}`, "X", "ImportValue"},
		"a macro":                {`{"Transform": "AWS::Serverless", "Resources": {` + network + `}}`, "Transform", "anything"},
		"a second network":       {`{"Resources": {` + network + `, "X": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.1.0.0/24"}}}}`, "X", "second network"},
		"another network's":      {`{"Resources": {` + network + `, "X": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": "vpc-0a"}}}}`, "X", "vpc-0a"},
		"a launch template":      {`{"Resources": {` + network + `, "X": {"Type": "AWS::EC2::Instance", "Properties": {"LaunchTemplate": {"LaunchTemplateId": "lt-1"}}}}}`, "X", "launch template"},
		"a group from elsewhere": {`{"Resources": {` + network + `, "X": {"Type": "AWS::EC2::SecurityGroupEgress", "Properties": {"GroupId": "sg-0a"}}}}`, "X", "not in the template"},
		"no network":             {`{"Resources": {"X": {"Type": "AWS::Logs::LogGroup"}}}`, "the room", "no VPC"},
	} {
		m, err := ReadTemplate(c.text, launched(nil))
		if err != nil {
			t.Fatal(err)
		}
		if ways := Judge(m, Declared{}).Undeclared(); !slices.ContainsFunc(ways, func(w Way) bool {
			return w.Kind == "unknown" && w.Resource == c.resource && strings.Contains(w.Reason, c.reason)
		}) {
			t.Errorf("%s: %+v", name, ways)
		}
	}
	if _, err := ReadTemplate("{", launched(nil)); err == nil {
		t.Error("half a template was read")
	}
}

func FuzzReadTemplate(f *testing.F) {
	f.Add(`{"Resources": {"Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": {"Fn::Select": [0, ["10.0.0.0/24"]]}}}}}`)
	f.Add(`{"Conditions": {"A": {"Condition": "A"}}, "Resources": {"X": {"Type": "AWS::EC2::Instance", "Condition": "A"}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ReadTemplate(text, launched(nil))
		if err != nil {
			return
		}
		if m.VPC == "" && len(Judge(m, Declared{}).Undeclared()) == 0 {
			t.Errorf("a room without a network is closed: %s", text)
		}
	})
}
