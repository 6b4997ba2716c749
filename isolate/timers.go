package isolate

import (
	"context"
	"fmt"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
	"github.com/cordon-ir/cordon/isolate/reach"
)

// timers are an interface's connection-tracking timeouts in seconds, AWS's
// defaults filled in: AWS shows what was configured only, and has no call to
// take a configured value away (API_ModifyNetworkInterfaceAttribute).
type timers struct {
	TCP       int32 `json:"tcp_established"`
	UDPStream int32 `json:"udp_stream"`
	UDP       int32 `json:"udp"`
	// Unset: nothing was configured.
	Unset bool `json:"unset,omitempty"`
}

// shortest are AWS's minima.
var shortest = timers{TCP: reach.ShortestIdle, UDPStream: reach.ShortestUDPStream, UDP: reach.ShortestUDP}

// nitro6 are the families whose page ("Instances built on the AWS Nitro
// System") names Nitro v6. No call of EC2 tells an instance's Nitro version.
var nitro6 = regexp.MustCompile(`^([cmr]8(a|i|i-flex|ib|id|in|gb|gn)|x8(i|aedz)|p6-b[0-9]+)\.`)

// defaultTimers: 432,000 s for established TCP, 350 s on Nitro v6
// (API_ConnectionTrackingConfiguration).
func defaultTimers(t ec2types.InstanceType) timers {
	d := timers{TCP: 432000, UDPStream: 180, UDP: 30, Unset: true}
	if nitro6.MatchString(string(t)) {
		d.TCP = 350
	}
	return d
}

func timersOf(c *ec2types.ConnectionTrackingConfiguration, t ec2types.InstanceType) timers {
	now := defaultTimers(t)
	if c == nil {
		return now
	}
	for _, v := range []struct {
		shown *int32
		into  *int32
	}{{c.TcpEstablishedTimeout, &now.TCP}, {c.UdpStreamTimeout, &now.UDPStream}, {c.UdpTimeout, &now.UDP}} {
		if v.shown != nil {
			*v.into, now.Unset = *v.shown, false
		}
	}
	return now
}

func (t timers) String() string {
	return fmt.Sprintf("TCP %d s, UDP stream %d s, UDP %d s", t.TCP, t.UDPStream, t.UDP)
}

// setTimers changes what differs, in one call: the three are one attribute.
func (w *wired) setTimers(ctx context.Context, id string, now, want timers) error {
	differs := func(now, want int32) *int32 {
		if now == want {
			return nil
		}
		return &want
	}
	spec := ec2types.ConnectionTrackingSpecificationRequest{
		TcpEstablishedTimeout: differs(now.TCP, want.TCP), UdpStreamTimeout: differs(now.UDPStream, want.UDPStream), UdpTimeout: differs(now.UDP, want.UDP),
	}
	if spec == (ec2types.ConnectionTrackingSpecificationRequest{}) {
		return nil
	}
	_, err := w.ec2.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: aws.String(id), ConnectionTrackingSpecification: &spec,
	})
	if err != nil {
		return fmt.Errorf("set the connection tracking timeouts of %s: %w", id, err)
	}
	return nil
}

const timeoutsWord = "connection tracking timeouts"

// timersDrift is the three-way difference of an interface's timeouts.
func timersDrift(before, now wire) incident.Drift {
	return incident.Drift{
		Resource: before.name(), What: timeoutsWord, Before: before.Timers.String(), Set: shortest.String(), Now: now.Timers.String(),
	}
}
