package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// lane is one of the two accounts that get the same calls: moto's, over the
// wire, or the simulated one.
type lane struct {
	t    *testing.T
	ctx  context.Context
	name string
	// pass lets time go by where time is simulated; moto is always done at once.
	pass func(time.Duration)

	ec2       *ec2.Client
	elsewhere *ec2.Client // in a Region where nothing was made
	scaling   *autoscaling.Client
	elb       *elasticloadbalancingv2.Client
	classic   *elasticloadbalancing.Client
	iam       *iam.Client
	sts       *sts.Client
	kms       *kms.Client
	s3        *s3.Client
	ssm       *ssm.Client
	stacks    *cloudformation.Client

	names map[string]string // of the resources that the case knows, by ID
	seen  []observation
}

const (
	region      = "eu-central-1"
	otherRegion = "us-west-2"
)

func newLane(t *testing.T, name string, config func(region string) aws.Config, pass func(time.Duration)) *lane {
	at := func(region string) aws.Config {
		cfg := config(region)
		// An answer that makes the SDK try again is an answer too.
		cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
		return cfg
	}
	cfg := at(region)
	return &lane{
		t: t, ctx: t.Context(), name: name, pass: pass, names: make(map[string]string),
		ec2: ec2.NewFromConfig(cfg), elsewhere: ec2.NewFromConfig(at(otherRegion)), scaling: autoscaling.NewFromConfig(cfg),
		elb: elasticloadbalancingv2.NewFromConfig(cfg), classic: elasticloadbalancing.NewFromConfig(cfg),
		iam: iam.NewFromConfig(cfg), sts: sts.NewFromConfig(cfg), kms: kms.NewFromConfig(cfg),
		s3:  s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
		ssm: ssm.NewFromConfig(cfg), stacks: cloudformation.NewFromConfig(cfg),
	}
}

// observation is what one call showed, or what it was refused with.
type observation struct {
	operation string // ec2:CreateVpc
	code      string // empty: the call went well
	fields    map[string][]string
}

// do makes a call and keeps what it showed. The result is nil where it was refused.
func do[I, O, Options any](l *lane, f func(context.Context, *I, ...func(*Options)) (*O, error), in *I) *O {
	out, err := f(l.ctx, in)
	for tries := 1; refusedUnread(err) && tries < 5; tries++ {
		out, err = f(l.ctx, in)
	}
	o := observation{operation: operationOf(in), code: codeOf(err)}
	if err == nil {
		o.fields = make(map[string][]string)
		l.fields(o.fields, "", reflect.ValueOf(out).Elem())
		for path := range o.fields {
			if !ordered[o.operation+" "+path] {
				slices.Sort(o.fields[path])
			}
		}
	}
	l.seen = append(l.seen, o)
	if err != nil {
		l.t.Logf("%s %s: %v", l.name, o.operation, err)
		return nil
	}
	return out
}

// refusedUnread: a refusal (4xx) in which the SDK found no error of the service.
// Moto has answered so once in a while, to a call that it refuses properly
// otherwise; why was not found. What was refused has changed nothing and can be
// asked again; an answer that stays so is compared as it is.
func refusedUnread(err error) bool {
	var http *smithyhttp.ResponseError
	var api smithy.APIError
	return errors.As(err, &http) && http.HTTPStatusCode()/100 == 4 && !errors.As(err, &api)
}

// must is do for a call that the rest of the case stands on.
func must[I, O, Options any](l *lane, f func(context.Context, *I, ...func(*Options)) (*O, error), in *I) *O {
	out := do(l, f, in)
	if out == nil {
		panic(stopped{l.seen[len(l.seen)-1]})
	}
	return out
}

// stopped: a call that a case stands on was refused.
type stopped struct{ by observation }

// operationOf is the service and the operation of an input.
func operationOf(in any) string {
	t := reflect.TypeOf(in).Elem()
	pkg := t.PkgPath()
	return pkg[strings.LastIndex(pkg, "/")+1:] + ":" + strings.TrimSuffix(t.Name(), "Input")
}

// codeOf is the error's code; where the answer is none of the service's errors, its HTTP status.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	var http *smithyhttp.ResponseError
	if errors.As(err, &http) {
		return fmt.Sprintf("HTTP %d", http.HTTPStatusCode())
	}
	return err.Error()
}

// ordered are the lists whose order AWS documents.
var ordered = map[string]bool{
	// docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html: in lexicographical order.
	"s3:ListObjectsV2 Contents.Key": true,
	// docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html: by key, the newest version first.
	"s3:ListObjectVersions Versions.Key": true, "s3:ListObjectVersions Versions.VersionId": true,
	// docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html: by part number.
	"s3:ListParts Parts.PartNumber": true, "s3:ListParts Parts.ETag": true,
	// docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackEvents.html: newest first.
	"cloudformation:DescribeStackEvents StackEvents.ResourceStatus": true,
}

// opaque are fields whose value means nothing but itself.
var opaque = map[string]bool{
	"VersionId": true, "UploadId": true, "NextUploadIdMarker": true, "NextContinuationToken": true, "EventId": true,
}

// fields puts every value of an answer under its path, list positions left out.
func (l *lane) fields(into map[string][]string, path string, v reflect.Value) {
	add := func(s string) {
		if _, known := l.names[s]; !known && s != "null" && opaque[path[strings.LastIndex(path, ".")+1:]] {
			s = "{opaque}"
		}
		into[path] = append(into[path], l.normal(s))
	}
	switch x := v.Interface().(type) {
	case time.Time:
		add("a time")
		return
	case []byte:
		add(string(x))
		return
	case io.ReadCloser:
		if v.IsNil() {
			return
		}
		b, err := io.ReadAll(x)
		add(fmt.Sprintf("%s %v", b, err))
		_ = x.Close()
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			l.fields(into, path, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.IsExported() && f.Name != "ResultMetadata" {
				l.fields(into, strings.TrimPrefix(path+"."+f.Name, "."), v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			l.fields(into, path, v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			l.fields(into, path+"."+k.String(), v.MapIndex(k))
		}
	case reflect.String:
		if v.Len() > 0 {
			add(v.String())
		}
	default:
		add(fmt.Sprint(v.Interface()))
	}
}

// call names a resource: it shows by that name from now on.
func (l *lane) call(name string, id *string) string {
	l.names[aws.ToString(id)] = "{" + name + "}"
	return aws.ToString(id)
}

// normal takes out of a value what each account chooses for itself.
func (l *lane) normal(s string) string {
	ids := make([]string, 0, len(l.names))
	for id := range l.names {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return len(b) - len(a) })
	for _, id := range ids {
		if id != "" {
			s = strings.ReplaceAll(s, id, l.names[id])
		}
	}
	for _, n := range choices {
		s = n.pattern.ReplaceAllString(s, n.name)
	}
	return s
}

// choices are forms of values that AWS makes up.
var choices = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`\b(123456789012|111122223333)\b`), "{account}"},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "{uuid}"},
	{regexp.MustCompile(`\b(eni-attach|iip-assoc|[a-z]{1,12})-([0-9a-f]{17}|[0-9a-f]{8})\b`), "{$1}"},
	{regexp.MustCompile(`\b(AROA|AIPA|ASIA|AKIA|AIDA)[A-Z0-9]{12,17}\b`), "{$1}"},
	{regexp.MustCompile(`/[0-9a-f]{15,16}\b`), "/{id}"}, // of a load balancer's part; moto's own are numbers
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| UTC)?`), "{time}"},
	{regexp.MustCompile(`\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b`), "{mac}"},
	{regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}($|[^/.0-9])`), "{address}$2"},
	{regexp.MustCompile(`\b(ip|ec2)-\d{1,3}(-\d{1,3}){3}\b`), "{host}"},
}

// difference is one observable thing that the two accounts show otherwise.
type difference struct {
	in, operation, at string // at: a path in the answer, or "error"
	moto, simulated   string
}

func (d difference) String() string {
	return fmt.Sprintf("%s: %s: %s: moto %q, simulated %q", d.in, d.operation, d.at, d.moto, d.simulated)
}

// compare lays two lanes' observations side by side. Where one lane stopped
// early, the refused call itself is the difference; what follows has no pair.
func compare(in string, moto, simulated []observation) (found []difference) {
	for n := range min(len(moto), len(simulated)) {
		m, s := moto[n], simulated[n]
		if m.operation != s.operation {
			return append(found, difference{in, s.operation, "operation", m.operation, s.operation})
		}
		if m.code != s.code {
			found = append(found, difference{in, m.operation, "error", okOr(m.code), okOr(s.code)})
			continue
		}
		paths := make(map[string]bool)
		for p := range m.fields {
			paths[p] = true
		}
		for p := range s.fields {
			paths[p] = true
		}
		for p := range paths {
			a, b := strings.Join(m.fields[p], ", "), strings.Join(s.fields[p], ", ")
			if a != b {
				found = append(found, difference{in, m.operation, p, a, b})
			}
		}
	}
	if len(moto) != len(simulated) {
		found = append(found, difference{in, "case", "calls", fmt.Sprint(len(moto)), fmt.Sprint(len(simulated))})
	}
	return found
}

func okOr(code string) string {
	if code == "" {
		return "ok"
	}
	return code
}

// scenario is a set of calls that both accounts get, in the same order.
type scenario struct {
	name  string
	calls func(*lane)
}

// run gives the calls to one lane.
func (l *lane) run(t *testing.T, s scenario) []observation {
	l.t, l.seen = t, nil
	func() {
		defer func() {
			if r := recover(); r != nil {
				if _, ok := r.(stopped); !ok {
					panic(r)
				}
			}
		}()
		s.calls(l)
	}()
	return l.seen
}
