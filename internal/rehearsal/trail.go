package rehearsal

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"
)

// trailDelay is how long an event stays out of sight: CloudTrail delivers
// "typically within an average of about 5 minutes" and promises nothing.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
const trailDelay = 5 * time.Minute

// trailState is the event history, oldest first.
type trailState struct {
	Events []trailEvent `json:"events,omitempty"`
}

type trailEvent struct {
	ID        string          `json:"id"`
	Time      time.Time       `json:"time"`
	Region    string          `json:"region"`
	Source    string          `json:"source"` // ec2.amazonaws.com
	Name      string          `json:"name"`
	By        string          `json:"by"`            // ARN
	Key       string          `json:"key,omitempty"` // ID of the access key, where it is known
	From      string          `json:"from"`          // address
	Read      bool            `json:"read,omitempty"`
	Request   string          `json:"request,omitempty"` // ID
	Params    json.RawMessage `json:"params,omitempty"`
	Resources []string        `json:"resources,omitempty"`
	Code      string          `json:"code,omitempty"` // of the error
	Error     string          `json:"error,omitempty"`
}

// responderAddress is where calls made through the account's own clients come
// from: a documentation address (RFC 5737).
const responderAddress = "192.0.2.10"

func (ops operations) trail() {
	on(ops, cloudtrailLookupEvents)
}

// record keeps a call in the event history, refused ones too. The history has
// management events only: S3 object calls and those of the EBS direct APIs about
// blocks are data events, which LookupEvents never returns.
// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
func (s *trailState) record(c *call, name string, in any, err error) {
	if c.service == "ebs" && strings.Contains(name, "Block") || c.service == "s3" && !bucketCall.MatchString(name) {
		return
	}
	params := eventParameters(in)
	e := trailEvent{
		ID: c.uuid(), Time: c.Now.Truncate(time.Second), Region: c.region, Source: c.service + ".amazonaws.com", Name: name,
		By: c.Caller, From: responderAddress, Request: c.request, Params: params, Resources: resourcesIn(params),
	}
	if api := smithy.APIError(nil); err != nil && errors.As(err, &api) {
		e.Code, e.Error = api.ErrorCode(), api.ErrorMessage()
		if c.service == "ec2" {
			e.Code = "Client." + e.Code // as EC2's events have it
		}
	}
	s.Events = append(s.Events, e)
}

// eventParameters are a request as CloudTrail shows it: names begin small, user
// data is left out ("<sensitiveDataRemoved>").
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
func eventParameters(in any) json.RawMessage {
	b, err := json.Marshal(in)
	if err != nil {
		return nil // a body that can't be read twice
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil
	}
	b, err = json.Marshal(smallNames(v))
	if err != nil {
		return nil
	}
	return b
}

func smallNames(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, value := range v {
			if k == "UserData" && value != nil {
				value = "<sensitiveDataRemoved>"
			}
			if value == nil || value == "" || k == "ResultMetadata" {
				continue
			}
			r := []rune(k)
			r[0] = unicode.ToLower(r[0])
			m[string(r)] = smallNames(value)
		}
		return m
	case []any:
		for i := range v {
			v[i] = smallNames(v[i])
		}
	}
	return v
}

// bucketCall: the calls of S3 that are about a bucket, not an object.
var bucketCall = regexp.MustCompile(`Bucket|ObjectLockConfiguration|PublicAccessBlock`)

var (
	resourceID    = regexp.MustCompile(`^(?:[a-z]{1,8}-(?:[a-z]+-)?[0-9a-f]{17}|arn:aws:.*)$`)
	resourceNames = []string{"roleName", "instanceProfileName", "autoScalingGroupName", "loadBalancerName", "bucket", "stackName"}
)

// resourcesIn lists the resources that a request names.
func resourcesIn(params json.RawMessage) []string {
	var list []string
	var walk func(key string, v any)
	walk = func(key string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range sortedKeys(v) {
				walk(k, v[k])
			}
		case []any:
			for _, e := range v {
				walk(key, e)
			}
		case string:
			if resourceID.MatchString(v) || slices.Contains(resourceNames, key) {
				list = append(list, v)
			}
		}
	}
	var v any
	if json.Unmarshal(params, &v) == nil {
		walk("", v)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
func cloudtrailLookupEvents(c *call, in *cloudtrail.LookupEventsInput) (*cloudtrail.LookupEventsOutput, error) {
	if len(in.LookupAttributes) > 1 {
		return nil, &types.InvalidLookupAttributesException{Message: aws.String("You can only specify one lookup attribute.")}
	}
	if in.StartTime != nil && in.EndTime != nil && in.EndTime.Before(*in.StartTime) {
		return nil, &types.InvalidTimeRangeException{Message: aws.String("The start time must be before the end time.")}
	}
	limit := int(valueOr(in.MaxResults, 50))
	if limit < 1 || limit > 50 {
		return nil, &types.InvalidMaxResultsException{Message: aws.String("MaxResults must be between 1 and 50.")}
	}
	out := &cloudtrail.LookupEventsOutput{Events: []types.Event{}}
	waiting := in.NextToken != nil                      // for the event that ended the page before
	for _, e := range slices.Backward(c.Trail.Events) { // newest first
		if waiting {
			waiting = e.ID != *in.NextToken
			continue
		}
		if !e.visible(c) || !e.matches(in) {
			continue
		}
		if len(out.Events) == limit {
			out.NextToken = out.Events[limit-1].EventId
			break
		}
		out.Events = append(out.Events, e.aws(c.world))
	}
	if waiting {
		return nil, &types.InvalidNextTokenException{Message: aws.String("The token is not valid.")}
	}
	return out, nil
}

// visible: IAM and STS are global, their events are in every Region's history here.
func (e trailEvent) visible(c *call) bool {
	global := e.Source == "iam.amazonaws.com" || e.Source == "sts.amazonaws.com"
	return !c.Now.Before(e.Time.Add(trailDelay)) && (global || e.Region == c.region)
}

func (e trailEvent) matches(in *cloudtrail.LookupEventsInput) bool {
	if in.StartTime != nil && e.Time.Before(*in.StartTime) || in.EndTime != nil && e.Time.After(*in.EndTime) {
		return false
	}
	for _, a := range in.LookupAttributes {
		want := aws.ToString(a.AttributeValue)
		switch a.AttributeKey {
		case types.LookupAttributeKeyEventId:
			return e.ID == want
		case types.LookupAttributeKeyEventName:
			return e.Name == want
		case types.LookupAttributeKeyEventSource:
			return e.Source == want
		case types.LookupAttributeKeyReadOnly:
			return strconv.FormatBool(e.Read) == want
		case types.LookupAttributeKeyUsername:
			return e.user() == want
		case types.LookupAttributeKeyResourceName:
			return slices.Contains(e.Resources, want)
		case types.LookupAttributeKeyAccessKeyId:
			return e.Key == want
		default:
			return false // no event here has a resource type
		}
	}
	return true
}

// user is the session's name: the instance ID where an instance profile's
// credentials were used.
func (e trailEvent) user() string { return e.By[strings.LastIndexByte(e.By, '/')+1:] }

func (e trailEvent) aws(w *world) types.Event {
	out := types.Event{
		EventId: &e.ID, EventName: &e.Name, EventSource: &e.Source, EventTime: &e.Time, Username: aws.String(e.user()),
		ReadOnly: aws.String(strconv.FormatBool(e.Read)), CloudTrailEvent: aws.String(e.document(w)),
	}
	out.AccessKeyId = nilIfEmpty(e.Key)
	for _, r := range e.Resources {
		out.Resources = append(out.Resources, types.Resource{ResourceName: &r})
	}
	return out
}

// document is the whole event.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
func (e trailEvent) document(w *world) string {
	event := map[string]any{
		"eventVersion": "1.11", "eventTime": e.Time.Format(time.RFC3339), "eventSource": e.Source, "eventName": e.Name,
		"awsRegion": e.Region, "sourceIPAddress": e.From, "userAgent": "rehearsal", "requestParameters": e.Params,
		"responseElements": nil, "requestID": e.Request, "eventID": e.ID, "readOnly": e.Read, "eventType": "AwsApiCall",
		"managementEvent": true, "recipientAccountId": w.Account, "eventCategory": "Management",
		"userIdentity": e.identity(w),
	}
	if e.Code != "" {
		event["errorCode"], event["errorMessage"] = e.Code, e.Error
	}
	b, err := json.Marshal(event)
	if err != nil {
		panic("rehearsal: " + err.Error())
	}
	return string(b)
}

// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
func (e trailEvent) identity(w *world) map[string]any {
	identity := map[string]any{"type": "AssumedRole", "arn": e.By, "accountId": w.Account}
	if strings.Contains(e.By, ":user/") {
		identity["type"], identity["userName"] = "IAMUser", e.user()
	}
	if e.Key != "" {
		identity["accessKeyId"] = e.Key
	}
	return identity
}

// uuid is one that the same seed gives again.
func (w *world) uuid() string {
	r := w.random()
	a, b := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>52, b&0xffffffffffff)
}
