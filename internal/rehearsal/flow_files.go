package rehearsal

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// flowPublished is the time between two files of a flow log ("Flow log files", VPC
// User Guide: "at 5-minute intervals").
const flowPublished = 5 * time.Minute

// tickFlowFiles publishes the files that are due, into buckets of this account.
// Of Parquet there are none.
func (w *world) tickFlowFiles() (changed bool) {
	for _, l := range inOrder(w.EC2.FlowLogs) {
		if l.Files == nil || l.Files.FileFormat != types.DestinationFileFormatPlainText {
			continue
		}
		if l.Delivered.IsZero() {
			l.Delivered = l.Created.Truncate(flowPublished)
		}
		for next := l.Delivered.Add(flowPublished); !next.After(w.Now); next = next.Add(flowPublished) {
			w.publishFlows(l, l.Delivered, next)
			l.Delivered, changed = next, true
		}
	}
	return changed
}

// publishFlows writes one file with what became known in (from, to], of every interface.
func (w *world) publishFlows(l *flowLog, from, to time.Time) {
	name, _ := strings.CutPrefix(l.Destination, "arn:aws:s3:::")
	name, folder, _ := strings.Cut(name, "/")
	b := w.S3.Buckets[name]
	if b == nil {
		return
	}
	var lines []string
	for _, n := range inOrder(w.EC2.Interfaces) {
		if !l.covers(n) {
			continue
		}
		for _, e := range w.flowEventsOf(l, n, from.Add(-flowDelay-l.Interval), to) {
			if e.Written.After(from) && !e.Written.After(to) {
				lines = append(lines, e.Message)
			}
		}
	}
	if len(lines) == 0 {
		return
	}
	slices.Sort(lines)
	file := zipped(l.header() + "\n" + strings.Join(lines, "\n") + "\n")
	c := w.call("s3")
	c.region = b.Region
	key := l.fileKey(w.Account, w.Region, strings.TrimSuffix(folder, "/"), from, file)
	// Where the file can't be written there is none: AWS shows that as the log's delivery status.
	_, _ = s3PutObject(c, &s3.PutObjectInput{Bucket: &name, Key: &key, Body: bytes.NewReader(file)})
}

// header is the first line of a file: the names of its fields.
func (l *flowLog) header() string { return strings.NewReplacer("${", "", "}", "").Replace(l.Format) }

func zipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text)) // into memory
	_ = z.Close()
	return b.Bytes()
}

// fileKey: "Flow log files", VPC User Guide, "Log file S3 bucket structure".
func (l *flowLog) fileKey(account, region, folder string, at time.Time, file []byte) string {
	at = at.UTC()
	path := []string{"AWSLogs", account, "vpcflowlogs", region, at.Format("2006"), at.Format("01"), at.Format("02")}
	names := []string{"", "aws-account-id=", "aws-service=", "aws-region=", "year=", "month=", "day=", "hour="}
	if *l.Files.PerHourPartition {
		path = append(path, at.Format("15"))
	}
	if *l.Files.HiveCompatiblePartitions {
		for i := range path {
			path[i] = names[i] + path[i]
		}
	}
	if folder != "" {
		path = slices.Insert(path, 0, folder)
	}
	sum := sha256.Sum256(file)
	return strings.Join(path, "/") + fmt.Sprintf("/%s_vpcflowlogs_%s_%s_%s_%x.log.gz", account, region, l.ID, at.Format("20060102T1504Z"), sum[:4])
}
