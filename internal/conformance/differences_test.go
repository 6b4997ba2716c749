package conformance

import (
	"path"
	"slices"
	"strings"
)

// verdict says who is right about a difference.
type verdict string

const (
	// motoDiffers: the page says what the simulated account shows.
	motoDiffers verdict = "moto differs from AWS"
	// leftOut: the page says what moto shows, and nobody here reads: the simulated account leaves it out.
	leftOut verdict = "left out of the simulated account"
	// bothMay: AWS leaves it to the account, the image or the moment.
	bothMay verdict = "both may"
)

// tabled is a difference that is understood. Where a pattern of path.Match
// stands for something shown, * is anything, and the empty text nothing.
type tabled struct {
	verdict         verdict
	operations      string // patterns, each of which must meet a difference
	at              string // patterns of paths in the answer; empty: the error code
	moto, simulated string
	aws             string // what the page says
	page            string
}

// meets gives the row's operation and path patterns that a difference fits.
func (r tabled) meets(d difference) (operation, at string, ok bool) {
	paths := strings.Fields(r.at)
	if r.at == "" {
		paths = []string{"error"}
	}
	fits := func(pattern string) bool { return like(pattern, d.at) }
	o := slices.IndexFunc(strings.Fields(r.operations), func(p string) bool { return like(p, d.operation) })
	p := slices.IndexFunc(paths, fits)
	if o < 0 || p < 0 || !shows(r.moto, d.moto) || !shows(r.simulated, d.simulated) {
		return "", "", false
	}
	return strings.Fields(r.operations)[o], paths[p], true
}

// shows: the pattern * stands for something, not for nothing.
func shows(pattern, text string) bool { return (pattern == "") == (text == "") && like(pattern, text) }

// like is path.Match over a text in which a slash is nothing special.
func like(pattern, text string) bool {
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", "|"), strings.ReplaceAll(text, "/", "|"))
	return ok && err == nil
}

// unexplained lists the differences without a row, and the rows, or parts of
// rows, without a difference.
func unexplainedDifferences(found []difference, rows []tabled) (problems []string, by map[verdict]int) {
	by = make(map[verdict]int)
	type part struct {
		row  int
		text string
	}
	met := make(map[part]bool)
	for _, d := range found {
		explained := false
		for n, r := range rows {
			if operation, at, ok := r.meets(d); ok {
				met[part{n, operation}], met[part{n, at}] = true, true
				if !explained {
					by[r.verdict]++
				}
				explained = true
			}
		}
		if !explained {
			problems = append(problems, "not in the table: "+d.String())
		}
	}
	for n, r := range rows {
		for _, text := range slices.Concat(strings.Fields(r.operations), strings.Fields(r.at)) {
			if !met[part{n, text}] {
				problems = append(problems, "no difference any more, remove it from the table: "+text+" in "+r.operations+" "+r.at+": moto "+r.moto+", simulated "+r.simulated)
			}
		}
	}
	return problems, by
}

// mended are the differences in which AWS's page was against the simulated account, and which are gone.
var mended = []struct{ operation, was, page string }{
	{"ec2:CreateVpc", "a block that is none was InvalidVpc.Range instead of InvalidParameterValue", ec2API + "errors-overview.html"},
	{"ec2:CreateSubnet, ec2:DescribeSubnets", "no zone ID, no host name options", ec2API + "API_Subnet.html"},
	{"ec2:DescribeInstanceStatus", "no details of the checks", ec2API + "API_InstanceStatusSummary.html"},
	{"elasticloadbalancingv2:DescribeTags", "a missing target group was LoadBalancerNotFound", elbAPI + "API_DescribeTags.html"},
	{"elasticloadbalancingv2:DescribeListeners, elasticloadbalancingv2:DescribeRules", "the ARN of a listener or rule did not hold its load balancer's ID",
		"https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html"},
	{"elasticloadbalancingv2:DescribeTargetGroups", "no IP address type", elbAPI + "API_TargetGroup.html"},
	{"autoscaling:DescribeAutoScalingGroups", "no CapacityRebalance", asgAPI + "API_AutoScalingGroup.html"},
	{"iam:ListAccessKeys", "a user that does not exist had an empty list", iamAPI + "API_ListAccessKeys.html"},
	{"sts:AssumeRole", "what is no ARN was AccessDenied", "https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html"},
	{"kms:CreateKey, kms:DescribeKey", "no CustomerMasterKeySpec", "https://docs.aws.amazon.com/kms/latest/APIReference/API_KeyMetadata.html"},
	{"cloudformation:DescribeStacks", "no description", stackAPI + "API_Stack.html"},
	{"s3:CreateBucket", "any name was taken", "https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"},
	{"s3:PutObjectRetention", "a retention mode that does not exist was taken, and locked the object", s3API + "API_ObjectLockRetention.html"},
	{"s3:PutObject, s3:CreateMultipartUpload", "an object had no content type", s3API + "API_PutObject.html"},
}

const (
	classicAPI = "https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/"
	iamAPI     = "https://docs.aws.amazon.com/IAM/latest/APIReference/"
	stackAPI   = "https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/"

	ec2Errors     = ec2API + "errors-overview.html"
	scalingErrors = asgAPI + "CommonErrors.html"
)
