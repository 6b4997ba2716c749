package rehearsal

import (
	"compress/gzip"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// filed makes a flow log of the lab's VPC that goes to a bucket, and gives a reader of its files.
func (l *lab) filed(destination string, options *types.DestinationOptionsRequest) (id string, files func() map[string]string) {
	l.Helper()
	client := s3.NewFromConfig(l.account.Config("eu-central-1"))
	ok(client.CreateBucket(l.ctx, &s3.CreateBucketInput{
		Bucket: aws.String("flows"), CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-central-1"},
	}))(l)
	id = ok(l.ec2.CreateFlowLogs(l.ctx, &ec2.CreateFlowLogsInput{
		ResourceIds: []string{l.vpc}, ResourceType: types.FlowLogsResourceTypeVpc, TrafficType: types.TrafficTypeAll, MaxAggregationInterval: aws.Int32(60),
		LogDestinationType: types.LogDestinationTypeS3, LogDestination: &destination, DestinationOptions: options,
	}))(l).FlowLogIds[0]
	return id, func() map[string]string {
		l.Helper()
		all := make(map[string]string)
		for _, o := range ok(client.ListObjectsV2(l.ctx, &s3.ListObjectsV2Input{Bucket: aws.String("flows")}))(l).Contents {
			z := ok(gzip.NewReader(ok(client.GetObject(l.ctx, &s3.GetObjectInput{Bucket: aws.String("flows"), Key: o.Key}))(l).Body))(l)
			all[*o.Key] = string(ok(io.ReadAll(z))(l))
		}
		return all
	}
}

func TestAFlowLogToABucketIsPublishedEveryFiveMinutes(t *testing.T) {
	l := newLab(t)
	id, files := l.filed("arn:aws:s3:::flows/net/", nil)
	l.pass(10 * time.Second)
	l.sends(true)
	l.pass(11 * time.Minute)
	l.sends(true)
	if n := len(files()); n == 0 {
		t.Fatal("no file after eleven minutes")
	}
	l.pass(14 * time.Minute)
	accepted := 0
	for key, text := range files() {
		if !strings.HasPrefix(key, "net/AWSLogs/111122223333/vpcflowlogs/eu-central-1/2026/") || !strings.Contains(key, "/111122223333_vpcflowlogs_eu-central-1_"+id+"_2026") || !strings.HasSuffix(key, ".log.gz") {
			t.Errorf("key %s", key)
		}
		header, records, _ := strings.Cut(text, "\n")
		if want := "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"; header != want {
			t.Errorf("header %q", header)
		}
		accepted += strings.Count(records, "ACCEPT")
	}
	if accepted != 2 {
		t.Errorf("%d accepted records in %d files: each belongs into one", accepted, len(files()))
	}
}

func TestFlowLogFilesLieWhereTheirOptionsSay(t *testing.T) {
	for name, tc := range map[string]struct {
		options types.DestinationOptionsRequest
		want    string
	}{
		"by hour": {types.DestinationOptionsRequest{PerHourPartition: aws.Bool(true)}, "AWSLogs/111122223333/vpcflowlogs/eu-central-1/YYYY/MM/DD/HH/"},
		"Hive": {
			types.DestinationOptionsRequest{HiveCompatiblePartitions: aws.Bool(true), PerHourPartition: aws.Bool(true)},
			"AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/aws-region=eu-central-1/year=YYYY/month=MM/day=DD/hour=HH/",
		},
		"Parquet": {types.DestinationOptionsRequest{FileFormat: types.DestinationFileFormatParquet}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			_, files := l.filed("arn:aws:s3:::flows", &tc.options)
			at := l.account.Clock().Now().UTC().Truncate(5 * time.Minute)
			l.pass(20 * time.Minute)
			var folders []string
			for key := range files() {
				folders = append(folders, key[:strings.LastIndex(key, "/")+1])
			}
			want := strings.NewReplacer("YYYY", at.Format("2006"), "MM", at.Format("01"), "DD", at.Format("02"), "HH", at.Format("15")).Replace(tc.want)
			if tc.want == "" && len(folders) > 0 || tc.want != "" && !slices.Contains(folders, want) {
				t.Errorf("files in %q, want one in %q", folders, want)
			}
		})
	}
}
