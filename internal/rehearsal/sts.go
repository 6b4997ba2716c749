package rehearsal

import (
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
)

func (ops operations) sts() {
	on(ops, stsGetCallerIdentity)
	on(ops, stsAssumeRole)
}

// No permission is needed, and none can be taken away.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
func stsGetCallerIdentity(c *call, _ *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
	return &sts.GetCallerIdentityOutput{
		Account: &c.Account, Arn: &c.Caller, UserId: aws.String(c.callerID()),
	}, nil
}

// callerID is ROLEID:SESSION; the responder's role needs no entry in IAM.
func (w *world) callerID() string {
	parts := strings.Split(w.Caller, "/")
	id, session := "AROARESPONDEREXAMPLE", parts[len(parts)-1]
	if len(parts) == 3 && w.IAM.Roles[parts[1]] != nil {
		id = w.IAM.Roles[parts[1]].ID
	}
	return id + ":" + session
}

var sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

// The credentials say whose account they open; within it the account does not tell
// callers apart.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
func stsAssumeRole(c *call, in *sts.AssumeRoleInput) (*sts.AssumeRoleOutput, error) {
	arn, session := aws.ToString(in.RoleArn), aws.ToString(in.RoleSessionName)
	if !sessionName.MatchString(session) {
		return nil, apiError("ValidationError", "1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*")
	}
	if !strings.HasPrefix(arn, "arn:") {
		return nil, apiError("ValidationError", arn+" is invalid")
	}
	to := c.in(accountOf(arn))
	if to == nil {
		to = c.world
	}
	for _, name := range sortedKeys(to.IAM.Roles) {
		r := to.IAM.Roles[name]
		if r.arn(to) != arn || to != c.world && !policyAllows(r.Trust, c.Account, "sts:AssumeRole") {
			continue
		}
		life := time.Duration(valueOr(in.DurationSeconds, 3600)) * time.Second
		if life < 15*time.Minute || life > time.Duration(r.MaxSession)*time.Second {
			return nil, apiError("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
		}
		return &sts.AssumeRoleOutput{
			AssumedRoleUser: &types.AssumedRoleUser{
				Arn:           aws.String("arn:aws:sts::" + to.Account + ":assumed-role/" + r.Name + "/" + session),
				AssumedRoleId: aws.String(r.ID + ":" + session),
			},
			Credentials: &types.Credentials{
				AccessKeyId: aws.String(callerKeys + to.Account), SecretAccessKey: aws.String("rehearsal"), SessionToken: aws.String("rehearsal"),
				Expiration: aws.Time(c.Now.Add(life)),
			},
		}, nil
	}
	// AWS does not say whether the role exists.
	return nil, apiError("AccessDenied", "User: "+c.Caller+" is not authorized to perform: sts:AssumeRole on resource: "+arn)
}
