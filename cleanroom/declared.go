package cleanroom

import (
	"strings"

	"github.com/cordon-ir/cordon/cleanroom/proof"
)

// declared are the ways out that a room has by intent: no others pass the proof. Whoever adds one to
// the template says here what it is for, and how narrow it is. What depends on the launch comes from
// the parameters that the journal has, never from what AWS shows of the stack.
func declared(l proof.Launch) proof.Declared {
	role := grants(l)
	d := proof.Declared{
		Role: []proof.Permission{role.agent, role.channels, role.logWriting, role.logFinding, role.blocks},
		Endpoints: []proof.DeclaredEndpoint{
			{Service: "ssm", Why: "the agents say where they are", Allows: []proof.Permission{role.agent}},
			{Service: "ssmmessages", Why: "the examiners' sessions", Allows: []proof.Permission{role.channels}},
			{Service: "logs", Why: "the sessions' log", Allows: []proof.Permission{role.logWriting, role.logFinding}},
			{Service: "ebs", Why: "the blocks of this case's snapshots", Allows: []proof.Permission{role.blocks}},
		},
		Domains: names(l, "ssm", "ssmmessages", "logs", "ebs"),
	}
	if bucket := l.Parameters["EvidenceBucket"]; bucket != "" {
		d.Role = append(d.Role, role.evidence...)
		d.Endpoints = append(d.Endpoints, proof.DeclaredEndpoint{Service: "s3", Why: "this case's evidence, the tools, and what the examiners find", Allows: role.evidence})
		d.Domains = append(d.Domains, names(l, "s3", bucket+".s3")...)
		// An ACL can't name the addresses of S3 as a group's rule can, by a prefix list.
		d.ACLs = map[string]string{
			"allows out tcp 443 to 0.0.0.0/0":         "the addresses of S3; no route leads to any other",
			"allows in tcp 1024-65535 from 0.0.0.0/0": "what S3 answers",
		}
	}
	if l.Parameters["EvidenceKey"] != "" {
		d.Role = append(d.Role, role.key)
		d.Endpoints = append(d.Endpoints, proof.DeclaredEndpoint{Service: "kms", Why: "the key that the evidence is encrypted with", Allows: []proof.Permission{role.key}})
		d.Domains = append(d.Domains, names(l, "kms")...)
	}
	return d
}

// names are what services are called in the Region.
func names(l proof.Launch, services ...string) []string {
	suffix := ".amazonaws.com"
	if l.Partition == "aws-cn" {
		suffix = ".amazonaws.com.cn"
	}
	var all []string
	for _, s := range services {
		all = append(all, s+"."+l.Region+suffix)
	}
	return all
}

// granted is what an examination instance needs, by what it is for. The endpoints' policies
// and the role's say the same.
type granted struct {
	agent, channels, logWriting, logFinding, blocks, key proof.Permission
	evidence                                             []proof.Permission
}

func grants(l proof.Launch) granted {
	arn := func(service, account, resource string) string {
		return strings.Join([]string{"arn", l.Partition, service, l.Region, account, resource}, ":")
	}
	p := l.Parameters
	bucket := "arn:" + l.Partition + ":s3:::" + p["EvidenceBucket"]
	return granted{
		agent: proof.Permission{Actions: []string{"ssm:UpdateInstanceInformation"}, Resources: []string{arn("ec2", l.Account, "instance/*")}},
		channels: proof.Permission{ // which no resource can be named for (Service Authorization Reference)
			Actions:   []string{"ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"},
			Resources: []string{"*"},
		},
		logWriting: proof.Permission{
			Actions:   []string{"logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"},
			Resources: []string{arn("logs", l.Account, "log-group:/aws/vendedlogs/cordon/"+l.Stack+"/*/sessions:*")},
		},
		logFinding: proof.Permission{Actions: []string{"logs:DescribeLogGroups"}, Resources: []string{"*"}}, // it takes no resource (Service Authorization Reference)
		blocks: proof.Permission{
			Actions:   []string{"ebs:GetSnapshotBlock", "ebs:ListChangedBlocks", "ebs:ListSnapshotBlocks"},
			Resources: []string{arn("ec2", "", "snapshot/*")},
		},
		key: proof.Permission{Actions: []string{"kms:Decrypt", "kms:GenerateDataKey"}, Resources: []string{p["EvidenceKey"]}},
		evidence: []proof.Permission{
			{Actions: []string{"s3:GetObject", "s3:GetObjectVersion"}, Resources: []string{bucket + "/" + p["CasePrefix"] + "*", bucket + "/" + p["RoomPrefix"] + "*", bucket + "/" + p["ToolkitPrefix"] + "*"}},
			{Actions: []string{"s3:ListBucket", "s3:ListBucketVersions", "s3:GetEncryptionConfiguration"}, Resources: []string{bucket}},
			{Actions: []string{"s3:AbortMultipartUpload", "s3:PutObject"}, Resources: []string{bucket + "/" + p["RoomPrefix"] + "findings/*", bucket + "/" + p["RoomPrefix"] + "sessions/*"}},
		},
	}
}

// partition of a Region: ARNs begin with it ("Amazon Resource Names").
func partition(region string) string {
	for prefix, name := range map[string]string{"cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b", "eu-isoe-": "aws-iso-e", "us-isof-": "aws-iso-f"} {
		if strings.HasPrefix(region, prefix) {
			return name
		}
	}
	return "aws"
}
