package isolate

import (
	"fmt"
	"strings"

	"github.com/cordon-ir/cordon/internal/incident"
)

// conclusion holds what was seen against what isolate.network had said.
type conclusion struct {
	cut, open []claim
	v         *incident.Verification
}

// broken is the claim that a flow disproves; nil for none. What leaves the
// interface disproves nothing: a connection that is tracked is accepted there, and dropped only at the gateway, or by the ACL at the
// far end. What arrives has come all the way.
func (c conclusion) broken(f flow) *claim {
	if f.Direction != "in" {
		return nil
	}
	isCut, _ := said(c.cut, c.open, f.NIC.ID, f.Remote.Addr())
	return isCut
}

// flows lists what was accepted after the cut. Its error is the first claim that is not true.
func (c conclusion) flows(heard []testimony) error {
	var failure error
	shown := 0
	for _, t := range heard {
		for _, f := range t.Accepted {
			claim := c.broken(f)
			if claim != nil && failure == nil {
				failure = incident.WithHint(&incident.NotVerifiedError{Resource: claim.Words, Want: "nothing arrives after the cut", Got: "still passing: " + f.String()},
					"the instance is still in touch with "+f.Remote.Addr().String()+": deny that address on its subnet (remote-acl), or stop the instance once its memory is taken")
			}
			if shown++; shown > flowsShown && claim == nil {
				continue
			}
			e := incident.Exposure{Path: f.String(), Interface: f.NIC.ID, Direction: f.Direction, Reason: c.reason(f)}
			c.v.Residual = append(c.v.Residual, e)
		}
	}
	if shown > flowsShown {
		c.v.Observed = append(c.v.Observed, fmt.Sprintf("%d accepted flows in all; not every one is listed", shown))
	}
	return failure
}

func (c conclusion) reason(f flow) string {
	isCut, isOpen := said(c.cut, c.open, f.NIC.ID, f.Remote.Addr())
	switch {
	case isCut != nil && f.Direction == "in":
		return "still passing after the cut, on a path that was said to be cut: " + isCut.Words
	case isCut != nil && f.Direction == "out":
		return "packets still leave the interface; whether they get further does not show here: the path was said to be cut beyond it: " + isCut.Words
	case isCut != nil:
		return "accepted after the cut; the record does not tell in which direction: " + isCut.Words
	case isOpen != nil:
		return "still passing after the cut, on a path that was said to live on: " + isOpen.Words
	default:
		return "accepted after the cut; nothing was said of its path"
	}
}

// opinions takes in the analyzer's answers. A path that it finds is never hidden.
func (c conclusion) opinions(all []opinion) {
	for _, o := range all {
		name := fmt.Sprintf("VPC Reachability Analyzer, %s (%s)", o.Question, o.Question.NIC.name())
		codes := strings.Join(o.Codes, ", ")
		switch {
		case o.Failed != "":
			c.v.Observed = append(c.v.Observed, name+": no opinion: "+o.Failed)
		case !o.Found:
			c.v.Observed = append(c.v.Observed, name+": no path in the configuration for new connections: "+codes)
		default:
			direction := "out"
			if o.Question.To == o.Question.NIC.ID {
				direction = "in"
			}
			c.v.Observed = append(c.v.Observed, name+": a path was found")
			c.v.Residual = append(c.v.Residual, incident.Exposure{
				Path: o.Question.String(), Interface: o.Question.NIC.ID, Direction: direction,
				Reason: "VPC Reachability Analyzer finds a path for new TCP connections, through " + codes,
			})
		}
	}
}
