package config

import (
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v4"
)

var (
	accountID = regexp.MustCompile(`^[0-9]{12}$`)
	// Partitions: aws, aws-cn, aws-us-gov, … (AWS General Reference, "Amazon Resource Names").
	roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::([0-9]{12}):role/[\w+=,.@/-]{1,512}$`)
	region  = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]+$`)
	// Amazon S3 User Guide, "General purpose bucket naming rules".
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	inputName  = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
)

// maxDays is Amazon S3's longest default retention (API reference, DefaultRetention).
const maxDays = 36500

// check finds what has the right type and still makes no sense.
func (r *report) check(root *yaml.Node, c Config) {
	wrong := make(map[int]bool) // lines where a value is of another type: its zero isn't what the file says
	for _, p := range r.List {
		wrong[p.Line] = true
	}
	say := func(ok bool, text string, path ...string) {
		if n := at(root, path...); n != nil && !ok && !wrong[n.Line] {
			r.Add(n.Line, n.Column, "%s", text)
		}
	}
	const badRegion = "is not a Region's name, such as eu-central-1"
	say(c.Region == "" || region.MatchString(c.Region), "region "+badRegion, "region")
	e := c.Evidence
	say(e.Bucket == "" || bucketName.MatchString(e.Bucket), "bucket is not a bucket's name", "evidence", "bucket")
	say(e.Region == "" || region.MatchString(e.Region), "region "+badRegion, "evidence", "region")
	say(e.Mode == "" || e.Mode == "governance" || e.Mode == "compliance", "mode must be governance or compliance", "evidence", "mode")
	say(e.Account == "" || accountID.MatchString(e.Account), "account: an account's ID has 12 digits", "evidence", "account")
	say(e.Days >= 0 && e.Days <= maxDays, "days must be from 0 to 36500", "evidence", "days")
	say(e.Prefix == "" || e.Prefix[0] != '/' && e.Prefix[len(e.Prefix)-1] != '/', "prefix must not begin or end with a slash", "evidence", "prefix")
	say(e.Bucket == "", "evidence goes to a bucket or to a directory, not to both", "evidence", "directory")
	if e.Directory != "" && e.Bucket == "" {
		for _, f := range []string{"prefix", "region", "mode", "days", "kms_key", "legal_hold", "account"} {
			say(false, f+" is of a bucket: a directory can't keep it", "evidence", f)
		}
	}
	for id, account := range c.Accounts {
		if !accountID.MatchString(id) {
			say(false, "account "+strconv.Quote(id)+": an account's ID has 12 digits", "accounts", id)
			continue
		}
		m := roleARN.FindStringSubmatch(account.Role)
		say(account.Role != "", "account "+id+" has no role", "accounts", id)
		say(m != nil, "must be a role's ARN: arn:aws:iam::"+id+":role/NAME", "accounts", id, "role")
		say(m == nil || m[1] == id, "the role is of another account", "accounts", id, "role")
	}
	for name, value := range c.Inputs {
		say(inputName.MatchString(name), "an input's name has lower-case letters, digits and underscores, a letter first", "inputs", name)
		say(isInput(value), "must be text, a whole number, true, false or a list of texts", "inputs", name)
	}
}

func isInput(v any) bool {
	switch v := v.(type) {
	case string, int, int64, bool:
		return true
	case []any:
		for _, item := range v {
			if _, ok := item.(string); !ok {
				return false
			}
		}
		return true
	}
	return false
}

// at is the node of the value under path, or nil.
func at(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		var next *yaml.Node
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				next = n.Content[i+1]
			}
		}
		if next == nil {
			return nil
		}
		n = next
	}
	return n
}
