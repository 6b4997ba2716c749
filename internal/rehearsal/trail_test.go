package rehearsal

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

func TestAChangingCallIsInTheTrailUnderItsRequestIDFiveMinutesLater(t *testing.T) {
	ctx := context.Background()
	a := emptyAccount(t, func(w *world) { w.Denied = []string{"iam:DeleteRole"} })
	cfg := a.Config("eu-central-1")
	client, trail := iam.NewFromConfig(cfg), cloudtrail.NewFromConfig(cfg)
	web := aws.String("web")
	created, err := client.CreateRole(ctx, &iam.CreateRoleInput{RoleName: web, AssumeRolePolicyDocument: aws.String(trustEC2)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: web}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: web}); err == nil {
		t.Fatal("the denied call went through")
	}
	look := func() []types.Event {
		out, err := trail.LookupEvents(ctx, &cloudtrail.LookupEventsInput{LookupAttributes: []types.LookupAttribute{
			{AttributeKey: types.LookupAttributeKeyResourceName, AttributeValue: web},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return out.Events
	}
	if events := look(); len(events) != 0 {
		t.Errorf("%d events are there at once", len(events))
	}
	if err := a.Clock().Sleep(ctx, trailDelay); err != nil {
		t.Fatal(err)
	}
	events := look()
	if len(events) != 2 || *events[0].EventName != "DeleteRole" || *events[1].EventName != "CreateRole" {
		t.Fatalf("want the two changing calls, newest first, got %d events", len(events))
	}
	var refused, accepted struct{ ErrorCode, RequestID string }
	for i, to := range []any{&refused, &accepted} {
		if err := json.Unmarshal([]byte(*events[i].CloudTrailEvent), to); err != nil {
			t.Fatal(err)
		}
	}
	if refused.ErrorCode != "AccessDenied" {
		t.Errorf("the refused call shows %q", refused.ErrorCode)
	}
	if want, _ := awsmiddleware.GetRequestIDMetadata(created.ResultMetadata); accepted.RequestID != want {
		t.Errorf("request ID %q, the client saw %q", accepted.RequestID, want)
	}
}

func TestTheTrailComesInPages(t *testing.T) {
	ctx := context.Background()
	a := emptyAccount(t)
	cfg := a.Config("eu-central-1")
	for i := range 7 {
		roleNamed(t, iam.NewFromConfig(cfg), "role-"+strconv.Itoa(i), "/")
	}
	if err := a.Clock().Sleep(ctx, trailDelay); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	pages := cloudtrail.NewLookupEventsPaginator(cloudtrail.NewFromConfig(cfg), &cloudtrail.LookupEventsInput{MaxResults: aws.Int32(3)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			seen[*e.EventId] = true
		}
	}
	if len(seen) != 7 {
		t.Errorf("the pages show %d events of 7", len(seen))
	}
}
