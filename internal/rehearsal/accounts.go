package rehearsal

import (
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Every scenario has a second account, the evidence account: a role that the first account may
// assume, and a key. Its world lies in the first one's. What accounts see of each other is what
// AWS shows: a snapshot that is shared, a key whose policy allows it, a role that trusts the caller.
const (
	evidenceAccount = "444455556666"
	evidenceRole    = "cordon"
	evidenceKey     = "alias/evidence" // in the evidence account
	sharedKey       = "alias/shared"   // in the first account; the evidence account may use it
)

// callerKeys begins the access key IDs of whoever has assumed a role; the account follows.
// Without credentials, and so without a signature, a caller is the first account's.
const callerKeys = "REHEARSAL"

var signedBy = regexp.MustCompile(`Credential=` + callerKeys + `(\d{12})/`)

// callerAccount is the account whose credentials have signed a request; empty for none.
func callerAccount(request any) string {
	r, ok := request.(*smithyhttp.Request)
	if !ok {
		return ""
	}
	if m := signedBy.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		return m[1]
	}
	return ""
}

// ConfigIn is an AWS configuration with credentials of that account, as its role's.
func (a *Account) ConfigIn(account, region string) aws.Config {
	cfg := a.Config(region)
	cfg.Credentials = credentials.NewStaticCredentialsProvider(callerKeys+account, "rehearsal", "rehearsal")
	return cfg
}

// first is the world that holds the others.
func (w *world) first() *world {
	if w.holder != nil {
		return w.holder
	}
	return w
}

// in is the world of an account; nil where there is none. Empty is the first.
func (w *world) in(account string) *world {
	f := w.first()
	if account == "" || account == f.Account {
		return f
	}
	return f.Others[account]
}

// accounts are all there are, the first one first.
func (w *world) accounts() []*world {
	all := []*world{w.first()}
	for _, id := range sortedKeys(all[0].Others) {
		all = append(all, all[0].Others[id])
	}
	return all
}

// link gives the worlds of a state that was read what is not written down.
func (w *world) link(b blobs) {
	w.blobs = b
	for _, o := range w.Others {
		o.holder = w
	}
	for _, o := range w.accounts() {
		o.blobs = b
		for _, r := range o.Regions {
			r.holder, r.home, r.blobs = w, o, b
		}
	}
}

// addEvidenceAccount comes last in a scenario: what it makes takes IDs.
func (w *world) addEvidenceAccount() error {
	o := newWorld(w.Now, w.Seed+1<<32)
	o.Account, o.Region, o.Scenario = evidenceAccount, w.Region, w.Scenario
	o.Caller = "arn:aws:sts::" + o.Account + ":assumed-role/" + evidenceRole + "/cordon"
	put(&w.Others, o.Account, o)
	w.link(w.blobs)
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + w.Account + `:root"},"Action":"sts:AssumeRole"}]}`
	if _, err := iamCreateRole(o.call("iam"), &iam.CreateRoleInput{RoleName: aws.String(evidenceRole), AssumeRolePolicyDocument: &trust}); err != nil {
		return err
	}
	use := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::` + w.Account + `:root","arn:aws:iam::` + o.Account + `:root"]},"Action":"kms:*","Resource":"*"}]}`
	for _, k := range []struct {
		in            *world
		alias, policy string
	}{{o, evidenceKey, ""}, {w, sharedKey, use}} {
		c := k.in.call("kms")
		made, err := kmsCreateKey(c, &kms.CreateKeyInput{Description: aws.String("evidence"), Policy: nilIfEmpty(k.policy)})
		if err != nil {
			return err
		}
		if _, err := kmsCreateAlias(c, &kms.CreateAliasInput{AliasName: &k.alias, TargetKeyId: made.KeyMetadata.KeyId}); err != nil {
			return err
		}
	}
	return nil
}

// policyAllows reads a resource's policy: whether it lets anybody of an account do something.
// Conditions and denials are not modelled.
func policyAllows(document, account, action string) bool {
	var policy struct {
		Statement []struct {
			Effect    string
			Principal any
			Action    any
		}
	}
	if json.Unmarshal([]byte(document), &policy) != nil {
		return false
	}
	for _, s := range policy.Statement {
		who := s.Principal
		if named, ok := who.(map[string]any); ok {
			who = named["AWS"]
		}
		isAccount := slices.ContainsFunc(policyValues(who), func(p string) bool {
			return p == "*" || p == account || strings.HasPrefix(p, "arn:aws:iam::"+account+":")
		})
		isAction := slices.ContainsFunc(policyValues(s.Action), func(p string) bool {
			ok, _ := path.Match(p, action)
			return ok
		})
		if s.Effect == "Allow" && isAccount && isAction {
			return true
		}
	}
	return false
}

// policyValues are the values of a policy's element, which may be one or a list.
func policyValues(v any) (all []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, x := range v {
			if s, ok := x.(string); ok {
				all = append(all, s)
			}
		}
	}
	return all
}

// accountOf is the account that an ARN names.
func accountOf(arn string) string {
	if fields := strings.SplitN(arn, ":", 6); len(fields) == 6 && fields[0] == "arn" {
		return fields[4]
	}
	return ""
}
