package isolate

import (
	"bytes"
	"compress/gzip"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// intoBucket lets the account's flow logs go to a bucket of this Region, and
// gives the log that covers the instance's VPC and a writer into the bucket.
func (p *post) intoBucket(region string, options *ec2types.DestinationOptionsRequest) (log string, put func(key, text string)) {
	p.t.Helper()
	client := s3.NewFromConfig(p.acct.Config(region))
	must[*s3.CreateBucketOutput](p.t)(client.CreateBucket(p.ctx, &s3.CreateBucketInput{
		Bucket: aws.String("flows"), CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(region)},
	}))
	for _, l := range must[*ec2.DescribeFlowLogsOutput](p.t)(p.ec2().DescribeFlowLogs(p.ctx, &ec2.DescribeFlowLogsInput{})).FlowLogs {
		must[*ec2.DeleteFlowLogsOutput](p.t)(p.ec2().DeleteFlowLogs(p.ctx, &ec2.DeleteFlowLogsInput{FlowLogIds: []string{*l.FlowLogId}}))
	}
	log = must[*ec2.CreateFlowLogsOutput](p.t)(p.ec2().CreateFlowLogs(p.ctx, &ec2.CreateFlowLogsInput{
		ResourceIds: []string{p.nics()[0].VPC}, ResourceType: ec2types.FlowLogsResourceTypeVpc, TrafficType: ec2types.TrafficTypeAll, MaxAggregationInterval: aws.Int32(60),
		LogDestinationType: ec2types.LogDestinationTypeS3, LogDestination: aws.String("arn:aws:s3:::flows/net"), DestinationOptions: options,
	})).FlowLogIds[0]
	return log, func(key, text string) {
		must[*s3.PutObjectOutput](p.t)(client.PutObject(p.ctx, &s3.PutObjectInput{Bucket: aws.String("flows"), Key: &key, Body: strings.NewReader(text)}))
	}
}

func zipped(t *testing.T, lines ...string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(strings.Join(lines, "\n") + "\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFlowLogsAreReadFromABucketWhereverItLies(t *testing.T) {
	for name, tc := range map[string]struct {
		region  string
		options *ec2types.DestinationOptionsRequest
	}{
		"of the same Region, by day": {"eu-central-1", nil},
		"of another, for Hive":       {"eu-west-1", &ec2types.DestinationOptionsRequest{HiveCompatiblePartitions: aws.Bool(true)}},
		"of another, by hour":        {"eu-west-1", &ec2types.DestinationOptionsRequest{PerHourPartition: aws.Bool(true)}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPost(t, map[string]any{"reachability_analyzer": false, "watch": "30m"})
			p.intoBucket(tc.region, tc.options)
			p.cutOff()
			proposal, v, err := p.observe()
			if err != nil {
				t.Fatal(err)
			}
			p.says(v, "no ACCEPT among ")
			if notes := strings.Join(proposal.Notes, "\n"); !strings.Contains(notes, "it is read") {
				t.Errorf("the plan says %s", notes)
			}
			if took := p.acct.Clock().Now().Sub(p.since); took > 20*time.Minute {
				t.Errorf("it waited for %s, though files come every five minutes", took)
			}
		})
	}
}

func TestAFileThatShowsTrafficOnACutPathFailsTheStep(t *testing.T) {
	p := newPost(t, map[string]any{"reachability_analyzer": false, "watch": "0"})
	log, put := p.intoBucket("eu-central-1", nil)
	n := p.nics()[0]
	p.inputs["cut"] = []string{n.name() + " as 198.51.100.5 through internet-gateway igw-1 (0.0.0.0/0)"}
	header := strings.Join(defaultFlowFormat, " ")
	key := flowFiles{Bucket: "flows", Folder: "net", Account: "111122223333", Region: "eu-central-1"}.keys(log, p.since, p.since)[0]
	arrives := p.line(n, true, "203.0.113.66", 2*time.Minute, "ACCEPT")
	other := n
	other.ID = "eni-0123456789abcdef0"
	stamp := p.since.UTC().Format("20060102T1504Z")
	put(key+stamp+"_1.log.gz", zipped(t, header, p.line(other, true, "203.0.113.67", 2*time.Minute, "ACCEPT"), arrives, "too short"))
	put(key+stamp+"_2.log.gz", "no gzip")
	put(key+stamp+"_3.log.gz", zipped(t, header, arrives)[:60])
	put(key+p.since.Add(-time.Hour).UTC().Format("20060102T1504Z")+"_4.log.gz", "no gzip, and too old to be fetched")
	put(strings.Replace(key, log, "fl-0123456789abcdef0", 1)+stamp+"_5.log.gz", "of another flow log")

	_, v, err := p.observe()
	var broken *incident.NotVerifiedError
	if !errors.As(err, &broken) {
		t.Errorf("error %v", err)
	}
	p.says(v, "203.0.113.66:443", "3 lines can't be read")
	if all := strings.Join(v.Observed, "\n"); strings.Contains(all, "203.0.113.67") {
		t.Errorf("traffic of another instance: %s", all)
	}
}

func TestTheFilesOfADayAndAnHourAreNamedAsAWSDoes(t *testing.T) {
	from := time.Date(2026, 1, 31, 23, 50, 0, 0, time.UTC)
	f := flowFiles{Bucket: "b", Account: "111122223333", Region: "eu-central-1"}
	byDay := f.keys("fl-1", from, from.Add(20*time.Minute))
	f.Hourly, f.Hive, f.Folder = true, true, "a/"
	byHour := f.keys("fl-1", from, from.Add(20*time.Minute))
	// VPC User Guide, "Flow log files": bucket structure and file name.
	wantDay := []string{
		"AWSLogs/111122223333/vpcflowlogs/eu-central-1/2026/01/31/111122223333_vpcflowlogs_eu-central-1_fl-1_",
		"AWSLogs/111122223333/vpcflowlogs/eu-central-1/2026/02/01/111122223333_vpcflowlogs_eu-central-1_fl-1_",
	}
	wantHour := []string{
		"a/AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/aws-region=eu-central-1/year=2026/month=01/day=31/hour=23/111122223333_vpcflowlogs_eu-central-1_fl-1_",
		"a/AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/aws-region=eu-central-1/year=2026/month=02/day=01/hour=00/111122223333_vpcflowlogs_eu-central-1_fl-1_",
	}
	if !slices.Equal(byDay, wantDay) || !slices.Equal(byHour, wantHour) {
		t.Errorf("by day %q\nby hour %q", byDay, byHour)
	}
}
