package quota

import (
	"reflect"
	"strings"
)

// Call is one request to AWS.
type Call struct {
	Service   string // the SDK's service ID: EC2, Elastic Load Balancing v2
	Operation string
	// Narrowed: the request has a filter or asks for a page (Narrowed).
	Narrowed bool
}

// Bucket is a token bucket of one account and Region. A call takes a token
// of each of its buckets.
type Bucket struct {
	Name      string  // calls that name the same bucket share it
	Burst     int     // tokens that it holds
	PerSecond float64 // tokens that come back
	// Published: AWS documents it. Others are what a few people with a console
	// would use: the account's owner, and what runs there, need the API too.
	Published bool
}

// size of a bucket: what it holds, and what comes back in a second.
type size struct {
	burst     int
	perSecond float64
}

// Of returns the buckets that the call draws on, the narrowest first.
func Of(c Call) []Bucket {
	switch c.Service {
	case "EC2":
		return []Bucket{ec2(c)}
	case "Elastic Load Balancing", "Elastic Load Balancing v2":
		return elb(c)
	case "EBS":
		return []Bucket{ebs(c)}
	case "S3":
		return []Bucket{s3(c)}
	}
	if IsRead(c.Operation) {
		return []Bucket{{c.Service + " reads", 20, 10, false}}
	}
	return []Bucket{{c.Service + " changes", 10, 5, false}}
}

// IsRead tells by its name whether an operation changes nothing.
func IsRead(operation string) bool {
	for _, p := range []string{"Describe", "Get", "List", "Head", "Lookup", "Filter", "BatchGet", "Search", "Select", "Simulate", "Validate", "AssumeRole", "DecodeAuthorizationMessage"} {
		if strings.HasPrefix(operation, p) {
			return true
		}
	}
	return false
}

// Narrowed tells whether an operation's input has a filter or asks for a page:
// what EC2 counts separately from the same request without either.
func Narrowed(input any) bool {
	v := reflect.Indirect(reflect.ValueOf(input))
	if v.Kind() != reflect.Struct {
		return false
	}
	for _, name := range []string{"Filters", "MaxResults", "NextToken"} {
		f := v.FieldByName(name)
		if f.IsValid() && (f.Kind() == reflect.Slice && f.Len() > 0 || f.Kind() == reflect.Pointer && !f.IsNil()) {
			return true
		}
	}
	return false
}

// ec2: Amazon EC2 Developer Guide, "Request throttling for the Amazon EC2 API", table
// of request token buckets. Each action has a bucket of its own.
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
func ec2(c Call) Bucket {
	name := "EC2 " + c.Operation
	if s, ok := ec2Own[c.Operation]; ok {
		return Bucket{name, s.burst, s.perSecond, true}
	}
	switch {
	case !IsRead(c.Operation): // resource-intensive ones have a bucket of the same size
		return Bucket{name, 50, 5, true}
	case !c.Narrowed && ec2Wide[c.Operation]:
		return Bucket{name + " without filter or page", 50, 10, true}
	default:
		return Bucket{name, 100, 20, true}
	}
}

// ec2Wide have a smaller bucket for requests without a filter and without a page.
var ec2Wide = map[string]bool{
	"DescribeInstances": true, "DescribeInstanceStatus": true, "DescribeNetworkInterfaces": true, "DescribeSecurityGroups": true,
	"DescribeSnapshots": true, "DescribeSpotInstanceRequests": true, "DescribeVolumes": true,
}

// ec2Own are the actions with sizes of their own, as far as somebody who
// responds to an incident may call them ("Uncategorized actions").
var ec2Own = map[string]size{
	"AssignIpv6Addresses": {100, 5}, "AssignPrivateIpAddresses": {100, 5}, "UnassignPrivateIpAddresses": {100, 5},
	"AssociateIamInstanceProfile": {100, 5}, "DisassociateIamInstanceProfile": {100, 5},
	"CopyImage": {100, 1}, "DeregisterImage": {100, 5}, "ModifyImageAttribute": {100, 5},
	"CreateStoreImageTask": {50, 0.1}, "DescribeStoreImageTasks": {50, 0.5},
	"CreateNatGateway": {10, 1}, "DeleteNatGateway": {10, 1},
	"CreateNetworkInterface": {100, 5}, "DeleteNetworkInterface": {100, 5}, "ModifyNetworkInterfaceAttribute": {100, 5},
	"CreateSnapshot": {100, 5}, "CreateSnapshots": {100, 5}, "DeleteSnapshot": {100, 5}, "ModifySnapshotAttribute": {100, 5},
	"CreateTags": {100, 10}, "DeleteTags": {100, 10},
	"CreateVolume": {100, 5}, "DeleteVolume": {100, 5},
	"CreateVpcEndpoint": {4, 0.3}, "DeleteVpcEndpoints": {4, 0.3}, "ModifyVpcEndpoint": {4, 0.3},
	"DescribeSecurityGroupReferences": {20, 5}, "DescribeStaleSecurityGroups": {20, 5},
	"ModifyInstanceMetadataDefaults": {2, 2}, "ModifyInstanceMetadataOptions": {100, 5},
	"RunInstances": {5, 2}, "StartInstances": {5, 2}, "TerminateInstances": {100, 5},
}

// elb: Elastic Load Balancing User Guide, "Request throttling for the ELB API". The
// two versions of the API have buckets of their own for each kind of call; one over
// all calls of the account is narrower than the reads' once anything else is called.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-api-throttling.html
func elb(c Call) []Bucket {
	account := Bucket{"Elastic Load Balancing, all calls", 40, 10, true}
	kind, s := "changes", size{20, 3}
	switch c.Operation {
	case "CreateLoadBalancer", "SetSubnets", "AttachLoadBalancerToSubnets", "DetachLoadBalancerFromSubnets",
		"EnableAvailabilityZonesForLoadBalancer", "DisableAvailabilityZonesForLoadBalancer":
		kind, s = "resource-intensive", size{10, 0.2}
	case "RegisterTargets", "DeregisterTargets", "RegisterInstancesWithLoadBalancer", "DeregisterInstancesFromLoadBalancer":
		kind, s = "registrations", size{20, 4}
	default:
		if IsRead(c.Operation) {
			kind, s = "reads", size{40, 10}
		}
	}
	return []Bucket{{c.Service + " " + kind, s.burst, s.perSecond, true}, account}
}

// ebs: AWS General Reference, "Amazon EBS endpoints and quotas": GetSnapshotBlock
// 1,000 a second per account, ListSnapshotBlocks 50.
func ebs(c Call) Bucket {
	if strings.HasPrefix(c.Operation, "List") {
		return Bucket{"EBS " + c.Operation, 50, 50, true}
	}
	return Bucket{"EBS " + c.Operation, 1000, 1000, true}
}

// s3: Amazon S3 User Guide, "Best practices design patterns: optimizing Amazon S3
// performance": 3,500 changes and 5,500 reads a second per prefix, at least.
func s3(c Call) Bucket {
	if IsRead(c.Operation) {
		return Bucket{"S3 reads", 5500, 5500, true}
	}
	return Bucket{"S3 changes", 3500, 3500, true}
}
