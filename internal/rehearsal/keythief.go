package rehearsal

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// keyThief uses an IAM user's access key that it found on the instance, and
// temporary credentials that it got with that key, which outlive the key:
// deactivating it stops neither them nor the sessions of roles.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_disable-perms.html
type keyThief struct {
	User    string    `json:"user"`
	Key     string    `json:"key"`
	From    string    `json:"from"`   // address
	Issued  time.Time `json:"issued"` // its session, by GetSessionToken
	Next    time.Time `json:"next"`   // call
	Last    time.Time `json:"last,omitzero"`
	Refused int       `json:"refused"` // calls in a row
}

const (
	sessionLife = 12 * time.Hour // GetSessionToken's default
	sessionFrom = time.Hour      // how old its session is when it gets another
)

// tick makes the thief's next call: with the key, or with the session where
// the key is refused. It shows in the event history.
func (k *keyThief) tick(w *world) bool {
	if k == nil || k.Refused >= intruderPersist || w.Now.Before(k.Next) {
		return false
	}
	k.Next = w.Now.Add(intruderPause)
	u, key := w.IAM.Users[k.User], w.accessKey(k.Key)
	active := u != nil && key != nil && key.Status == string(types.StatusTypeActive)
	event := trailEvent{
		ID: w.uuid(), Time: w.Now.Truncate(time.Second), Region: w.Region, Source: "s3.amazonaws.com", Name: "ListBuckets", Read: true,
		By: fmt.Sprintf("arn:aws:iam::%s:user/%s", w.Account, k.User), Key: k.Key, From: k.From, Request: w.uuid(),
	}
	switch {
	case active && !k.deniedBy(w, u, time.Time{}):
		key.Used, key.Service = w.Now.Truncate(time.Second), "s3"
		if w.Now.Sub(k.Issued) >= sessionFrom {
			k.Issued = w.Now
		}
	case u == nil || w.Now.Sub(k.Issued) >= sessionLife:
		event.Code, event.Error = "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."
	case k.deniedBy(w, u, k.Issued):
		event.Key = "ASIA" + k.Key[4:]
		event.Code, event.Error = "AccessDenied", "User: "+event.By+" is not authorized to perform: s3:ListAllMyBuckets with an explicit deny in an identity-based policy"
	default:
		event.Key = "ASIA" + k.Key[4:]
	}
	if event.Code == "" {
		k.Last, k.Refused = w.Now, 0
	} else {
		k.Refused++
	}
	w.Trail.Events = append(w.Trail.Events, event)
	return true
}

// deniedBy reports whether an inline policy of the user denies the call. A
// request with the key itself has no aws:TokenIssueTime.
func (k *keyThief) deniedBy(w *world, u *iamUser, issued time.Time) bool {
	request := map[string]string{"aws:userid": u.ID, "aws:username": u.Name, "aws:sourceip": k.From}
	if !issued.IsZero() {
		request["aws:tokenissuetime"] = issued.UTC().Format(time.RFC3339)
	}
	return denies(u.Inline, "s3:ListAllMyBuckets", request)
}

// String says how far the thief gets.
func (k *keyThief) String() string {
	return "stolen access key of user " + k.User + howFar(k.Last, k.Refused)
}
