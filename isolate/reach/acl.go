package reach

import (
	"fmt"
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

const (
	// entryQuota is how many entries an ACL takes, by default, in each direction and
	// for each family, AWS's own last one counted ("Amazon VPC quotas"; up to 40 on request).
	entryQuota = 20
	// lastNumber is the highest that a rule can have ("Network ACL rules").
	lastNumber = 32766
)

// NoRoomError: an ACL does not take the denials.
type NoRoomError struct {
	ACL    string
	Egress bool
	Reason string
}

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("%s %s: %s", e.ACL, map[bool]string{false: "inbound", true: "outbound"}[e.Egress], e.Reason)
}

// Numbers gives each prefix that an ACL does not deny yet, in one direction, the number
// of its denial: free, and below every entry that lets one of its addresses
// through. A prefix that is denied whole already, whoever did it, gets none. quota is the number of
// entries for each direction and family; 0: AWS's default. It fails with *NoRoomError.
func Numbers(a ec2types.NetworkAcl, egress bool, prefixes []netip.Prefix, quota int) (map[netip.Prefix]int32, error) {
	if quota == 0 {
		quota = entryQuota
	}
	list := entries(&a, egress)
	taken, count := make(map[int32]bool), make(map[bool]int)
	for _, e := range list {
		taken[e.number] = true
		count[e.cidr.Addr().Is6()]++
	}
	full := func(reason string, args ...any) error {
		return &NoRoomError{ACL: aws.ToString(a.NetworkAclId), Egress: egress, Reason: fmt.Sprintf(reason, args...)}
	}
	numbers := make(map[netip.Prefix]int32)
	for _, p := range prefixes {
		limit, done := firstAllow(list, p)
		if _, twice := numbers[p]; done || twice {
			continue
		}
		six := p.Addr().Is6()
		if count[six] >= quota {
			return nil, full("%d entries of %d are taken, none is left for %s", count[six], quota, p)
		}
		count[six]++
		number := int32(1)
		for taken[number] {
			number++
		}
		if number >= limit {
			return nil, full("no number is free below rule %d, which lets %s through", limit, p)
		}
		taken[number], numbers[p] = true, number
	}
	return numbers, nil
}

// firstAllow is the number of the first entry that lets one of the prefix's addresses
// through, and whether the whole prefix is denied before.
func firstAllow(list []entry, p netip.Prefix) (int32, bool) {
	for _, e := range list {
		if e.cidr.Addr().Is6() != p.Addr().Is6() || !e.cidr.Overlaps(p) {
			continue
		}
		if e.allow {
			return e.number, false
		}
		if e.all && covers(e.cidr, p) {
			return e.number, true
		}
	}
	return lastNumber + 1, true
}
