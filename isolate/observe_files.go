package isolate

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/cordon-ir/cordon/internal/incident"
)

const (
	// filedEarly is how much older than the records in it a file's name may be: its
	// time is that of its first records, and these may be of a long interval (VPC User
	// Guide, "Flow log files").
	filedEarly = 20 * time.Minute
	// bytesOfALog bounds what is fetched of one flow log, in bytes as they are stored:
	// one of a whole VPC has the traffic of every instance in it.
	bytesOfALog = 1 << 30
)

// flowFiles is where a flow log's files are in S3.
type flowFiles struct {
	Bucket  string `json:"bucket"`
	Folder  string `json:"folder,omitempty"`
	Account string `json:"account"`
	Region  string `json:"region"`
	Hive    bool   `json:"hive,omitempty"`
	Hourly  bool   `json:"hourly,omitempty"`
}

// flowFilesOf is nil where the log does not go to a bucket.
func flowFilesOf(l ec2types.FlowLog, t incident.Target) (*flowFiles, error) {
	if l.LogDestinationType != ec2types.LogDestinationTypeS3 {
		return nil, nil
	}
	to, err := arn.Parse(aws.ToString(l.LogDestination))
	if err != nil {
		return nil, fmt.Errorf("its destination %q: %w", aws.ToString(l.LogDestination), err)
	}
	f := &flowFiles{Account: t.Account, Region: t.Region}
	f.Bucket, f.Folder, _ = strings.Cut(to.Resource, "/")
	if o := l.DestinationOptions; o != nil {
		f.Hive, f.Hourly = aws.ToBool(o.HiveCompatiblePartitions), aws.ToBool(o.PerHourPartition)
		if o.FileFormat == ec2types.DestinationFileFormatParquet {
			return nil, fmt.Errorf("its files in %s are Parquet", to.Resource)
		}
	}
	return f, nil
}

// keys are the beginnings of the names of the log's files from one time to
// another (VPC User Guide, "Flow log files", structure of the bucket).
func (f flowFiles) keys(log string, from, to time.Time) []string {
	every, levels := 24*time.Hour, []string{"year=2006", "month=01", "day=02"}
	if f.Hourly {
		every, levels = time.Hour, append(levels, "hour=15")
	}
	owner := []string{"aws-account-id=" + f.Account, "aws-service=vpcflowlogs", "aws-region=" + f.Region}
	if !f.Hive {
		for _, names := range [][]string{levels, owner} {
			for i, name := range names {
				_, names[i], _ = strings.Cut(name, "=")
			}
		}
	}
	var all []string
	for at := from.UTC().Truncate(every); !at.After(to); at = at.Add(every) {
		folder := path.Join(f.Folder, "AWSLogs", path.Join(owner...), at.Format(path.Join(levels...)))
		all = append(all, fmt.Sprintf("%s/%s_vpcflowlogs_%s_%s_", folder, f.Account, f.Region, log))
	}
	return all
}

// filedAt is the time in a file's name; zero where it has none.
func filedAt(key, prefix string) time.Time {
	stamp, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), "_")
	at, err := time.Parse("20060102T1504Z", stamp)
	if err != nil {
		return time.Time{}
	}
	return at
}

// archive reads flow logs from their files. A file never changes once it is there:
// each is fetched once, however often the watch looks, and for all interfaces together.
type archive struct {
	cfg     aws.Config
	heard   map[string]*testimony // by witness.name
	clients map[string]*s3.Client // by bucket
	fetched map[string]bool       // by bucket and key
	bytes   map[string]int64      // by flow log
}

func newArchive(cfg aws.Config, witnesses []witness) *archive {
	a := &archive{
		cfg: cfg, heard: make(map[string]*testimony), clients: make(map[string]*s3.Client), fetched: make(map[string]bool), bytes: make(map[string]int64),
	}
	for _, w := range witnesses {
		if w.Files != nil && w.Silent == "" {
			a.heard[w.name()] = &testimony{witness: w}
		}
	}
	return a
}

// read is what the log's files tell of the witness's interface.
func (a *archive) read(ctx context.Context, w witness, since, now time.Time) (testimony, error) {
	t := a.heard[w.name()]
	if t.Refused == "" {
		err := a.catchUp(ctx, w, since, now)
		switch {
		case hasCode(err, "NoSuchBucket", "NotFound", "Forbidden") || denied(err): // HEAD's codes are of its status
			t.Refused = err.Error()
		case err != nil:
			return *t, fmt.Errorf("%s, bucket %s: %w", w.name(), w.Files.Bucket, err)
		}
	}
	copied := *t
	copied.Accepted = slices.SortedFunc(slices.Values(t.Accepted), func(a, b flow) int { return a.First.Compare(b.First) })
	return copied, nil
}

// catchUp reads the files of the witness's log that have come since it was last asked.
func (a *archive) catchUp(ctx context.Context, w witness, since, now time.Time) error {
	client, err := a.client(ctx, w.Files.Bucket)
	if err != nil {
		return err
	}
	from := since.Add(-filedEarly)
	for _, prefix := range w.Files.keys(w.Log, from, now) {
		pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &w.Files.Bucket, Prefix: &prefix})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, o := range page.Contents {
				key := aws.ToString(o.Key)
				if at := filedAt(key, prefix); at.Before(from) || a.fetched[w.Files.Bucket+"/"+key] {
					continue
				}
				if a.bytes[w.Log]+aws.ToInt64(o.Size) > bytesOfALog {
					a.each(w.Log, func(t *testimony) { t.Cut = true })
					return nil
				}
				if err := a.fetch(ctx, client, w, key, since); err != nil {
					return err
				}
				a.fetched[w.Files.Bucket+"/"+key] = true
				a.bytes[w.Log] += aws.ToInt64(o.Size)
			}
		}
	}
	return nil
}

// each is for every interface whose traffic the log has.
func (a *archive) each(log string, do func(*testimony)) {
	for _, t := range a.heard {
		if t.Log == log {
			do(t)
		}
	}
}

// fetch takes one file in. One that can't be unpacked is counted as a line that
// can't be read; a connection that breaks is an error.
func (a *archive) fetch(ctx context.Context, client *s3.Client, w witness, key string, since time.Time) error {
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &w.Files.Bucket, Key: &key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	bad := func(err error) error {
		a.each(w.Log, func(t *testimony) { t.bad(key, err) })
		return nil
	}
	body := &sourceErrors{from: out.Body}
	z, err := gzip.NewReader(body)
	if err != nil {
		return errors.Join(body.failed, bad(err))
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		return errors.Join(body.failed, bad(errors.New("it has no header")))
	}
	format, column, err := fileFormat(lines.Text())
	if err != nil {
		return bad(err)
	}
	for lines.Scan() {
		a.hear(w.Log, format, column, lines.Text(), since)
	}
	if err := lines.Err(); err != nil && body.failed == nil {
		return bad(err)
	}
	return body.failed
}

// sourceErrors tells what failed: the source, or what was made of it.
type sourceErrors struct {
	from   io.Reader
	failed error
}

func (s *sourceErrors) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed = err
	}
	return n, err
}

// fileFormat is that of a file's header, and where in it the interface stands.
func fileFormat(header string) (format flowFormat, column int, err error) {
	format = strings.Fields(header)
	column = slices.Index(format, "interface-id")
	if column < 0 {
		return nil, 0, fmt.Errorf("its header has no interface-id: %.200q", header)
	}
	return format, column, format.tells()
}

// hear gives a line to the one whose interface it is about, and leaves those of other
// instances aside. One that does not tell is a bad line of all.
func (a *archive) hear(log string, format flowFormat, column int, line string, since time.Time) {
	fields := strings.Split(line, " ")
	a.each(log, func(t *testimony) {
		switch {
		case len(fields) != len(format):
			t.bad(line, fmt.Errorf("%d fields, the format has %d", len(fields), len(format)))
		case fields[column] == t.NIC.ID:
			t.Format = format
			t.hear(line, since)
		}
	})
}

// client is one for the bucket's Region, which may be another than the log's.
func (a *archive) client(ctx context.Context, bucket string) (*s3.Client, error) {
	if c := a.clients[bucket]; c != nil {
		return c, nil
	}
	in := func(region string) *s3.Client {
		return s3.NewFromConfig(a.cfg, func(o *s3.Options) {
			o.Region = region
			o.UsePathStyle = a.cfg.BaseEndpoint != nil // an address has no bucket.address
		})
	}
	client := in(a.cfg.Region)
	_, err := client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
	// S3 names the Region to whoever asks elsewhere (Amazon S3 API Reference, "HeadBucket").
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil && answer.HTTPStatusCode() == http.StatusMovedPermanently && answer.Response.Header.Get("X-Amz-Bucket-Region") != "" {
		client, err = in(answer.Response.Header.Get("X-Amz-Bucket-Region")), nil
	}
	if err != nil {
		return nil, err
	}
	a.clients[bucket] = client
	return client, nil
}
