package isolate

import (
	"fmt"
	"strings"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cordon-ir/cordon/internal/incident"
)

// residual is what passes in spite of the cut (aws-facts: "Network isolation").
func residual(interfaces []ec2types.NetworkInterface) []incident.Exposure {
	all := []incident.Exposure{
		{
			Path:   "VPC resolver (DNS), instance metadata service, time service",
			Reason: "security groups don't filter them: data can leave in DNS queries",
		},
	}
	for _, n := range interfaces {
		name := wireOf(n).name()
		timeout := "by default 432,000 s, 350 s on Nitro v6"
		if c := n.ConnectionTrackingConfiguration; c != nil && c.TcpEstablishedTimeout != nil {
			timeout = fmt.Sprintf("here %d s", *c.TcpEstablishedTimeout)
		}
		all = append(all, incident.Exposure{
			Path: "connections of " + name + " open at the cut",
			Reason: "what is tracked, inside the subnet and beyond, lives on until it is idle for TcpEstablishedTimeout (" + timeout +
				"): a shell that beacons does not end",
		})
		if address := publicAddress(n); address != "" {
			all = append(all, incident.Exposure{
				Path: "public address " + address + " of " + name, Reason: "it stays associated: connections through it that are tracked live on",
			})
		}
		if n.InterfaceType == ec2types.NetworkInterfaceTypeTrunk {
			all = append(all, incident.Exposure{
				Path: "branch interfaces of " + name, Reason: "containers' interfaces on a trunk have security groups of their own, which are not replaced",
			})
		}
	}
	return all
}

func publicAddress(n ec2types.NetworkInterface) string {
	var all []string
	for _, a := range n.PrivateIpAddresses {
		if a.Association != nil && a.Association.PublicIp != nil {
			all = append(all, *a.Association.PublicIp)
		}
	}
	if len(all) == 0 && n.Association != nil && n.Association.PublicIp != nil {
		all = append(all, *n.Association.PublicIp)
	}
	return strings.Join(all, ", ")
}
