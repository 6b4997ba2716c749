package rehearsal

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// What load balancers and Auto Scaling ask EC2. An instance that EC2 has
// forgotten is terminated.

func (w *world) running(id string) bool {
	i := w.instance(id)
	return i != nil && i.State == types.InstanceStateNameRunning
}

func (w *world) booting(id string) bool {
	i := w.instance(id)
	return i != nil && i.State == types.InstanceStateNamePending
}

func (w *world) terminated(id string) bool {
	i := w.instance(id)
	return i == nil || i.State == types.InstanceStateNameTerminated || i.State == types.InstanceStateNameShuttingDown
}

func (w *world) zoneOf(id string) string {
	if i := w.instance(id); i != nil {
		return i.AZ
	}
	return ""
}

func (w *world) vpcOf(id string) string {
	if i := w.instance(id); i != nil {
		return i.VPC
	}
	return ""
}

// instanceAt is the instance that has a private address; empty where none has.
func (w *world) instanceAt(ip string) string {
	for _, n := range inOrder(w.EC2.Interfaces) {
		if n.Attachment != nil && slices.Contains(n.IPs, ip) {
			return n.Attachment.Instance
		}
	}
	return ""
}
