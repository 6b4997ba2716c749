package rehearsal

import (
	"net/netip"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// shellMachine are the instances by what is at the ends of the flows: interfaces.
type shellMachine struct {
	suspect *instance
	// The suspect's: public has an automatic address and IPv6, admin an Elastic IP,
	// private is behind NAT, an egress-only and a transit gateway.
	public, admin, private *networkInterface
	// The neighbours', by name.
	web, build2, build3, data, endpoint *networkInterface
}

// shellMachines: the suspect was launched with one interface and got two more later: at launch it
// could not have several and an automatic public address as well.
func shellMachines(w *world, n shellNet) shellMachine {
	c := w.call("ec2")
	image := w.makeImage("build-3", w.Account, ec2types.ArchitectureValuesX8664, "", 2).ID
	launch := func(name, subnet, group string, public bool) *instance {
		spec := launchSpec{
			Image: image, Type: "t3.small", Profile: shellRole,
			Interfaces: []launchInterface{{Subnet: n.subnets[subnet], Groups: []string{n.groups[group]}, IPv6: 1}},
			Tags:       map[string]string{"Name": name, "owner": "release", "queue": "INC-BUILD", "data-classification": "internal", "criticality": "high"},
		}
		if public {
			spec.Interfaces[0].PublicIP = &public
		}
		return must(w.launch(spec))
	}
	first := func(i *instance) *networkInterface { return w.EC2.interfacesOf(i.ID)[0] }
	m := shellMachine{suspect: launch("build-1", "public", "ci-web", true)}
	m.public = first(m.suspect)
	m.admin = c.attachLater(m.suspect, 1, launchInterface{Subnet: n.subnets["admin"], Groups: []string{n.groups["ci-admin"]}, Description: "administration"})
	m.private = c.attachLater(m.suspect, 2, launchInterface{Subnet: n.subnets["private"], Groups: []string{n.groups["build"]}, Description: "builds", IPv6: 1})
	address := must(ec2AllocateAddress(c, &ec2.AllocateAddressInput{})).AllocationId
	must(ec2AssociateAddress(c, &ec2.AssociateAddressInput{AllocationId: address, NetworkInterfaceId: &m.admin.ID}))
	m.web = first(launch("web-1", "public", "ci-web", true))
	m.build2, m.build3 = first(launch("build-2", "private", "build", false)), first(launch("build-3", "private", "build", false))
	m.data = first(launch("data-1", "data", "data", false))
	for _, e := range w.EC2.Endpoints {
		m.endpoint = w.EC2.Interfaces[e.Interfaces[0]]
	}
	return m
}

// attachLater gives an instance one more interface.
func (c *call) attachLater(i *instance, index int32, l launchInterface) *networkInterface {
	n := c.makeInterface(l)
	n.Attachment = &interfaceAttachment{ID: c.id("eni-attach"), Instance: i.ID, Index: index, DeleteOnTermination: true, At: c.Now}
	return n
}

// shellBalancer sends the web interface's users to the suspect and to web-1. It
// has one interface, in a subnet of its own.
func shellBalancer(w *world, n shellNet, m shellMachine) (*networkInterface, string) {
	tg := &targetGroup{
		Name: "ci", ARN: w.elbARN("targetgroup/ci"), VPC: n.vpc, Type: "instance", Protocol: "HTTPS", Port: 8443, Path: "/", Delay: 30 * time.Second,
		Checks: checks{Interval: 10 * time.Second, Timeout: 5 * time.Second, Healthy: 2, Unhealthy: 3}, Tags: map[string]string{"owner": "release"},
	}
	lb := &loadBalancer{
		Name: "ci", ARN: w.elbARN("loadbalancer/app/ci"), VPC: n.vpc, Subnets: map[string]string{w.Region + "a": n.subnets["balancer"]},
		Groups: []string{n.groups["balancer"]}, Created: w.Now, Tags: map[string]string{"owner": "release"},
	}
	lb.Listeners = []*listener{{ARN: w.elbPart(lb.ARN, "loadbalancer", "listener"), Protocol: "HTTPS", Port: 443, Group: tg.ARN}}
	w.ELB.TargetGroups, w.ELB.LoadBalancers = []*targetGroup{tg}, []*loadBalancer{lb}
	for _, nic := range []*networkInterface{m.public, m.web} {
		tg.register(nic.Attachment.Instance, tg.Port, nic.AZ, w.Now)
	}
	_, path, _ := strings.Cut(lb.ARN, "loadbalancer/")
	nic := w.call("ec2").makeServiceInterface(n.subnets["balancer"], lb.Groups, ec2types.NetworkInterfaceTypeInterface, "ELB "+path)
	nic.Requester = "amazon-elb"
	return nic, tg.ARN
}

// at is an end of a flow on an interface's primary private address, atSix on its IPv6 address.
func (n *networkInterface) at(port uint16) endpoint {
	return endpoint{Interface: n.ID, Addr: netip.MustParseAddr(n.IPs[0]), Port: port}
}

func (n *networkInterface) atSix(port uint16) endpoint {
	return endpoint{Interface: n.ID, Addr: netip.MustParseAddr(n.IPv6[0]), Port: port}
}

func outside(addr string, port uint16) endpoint {
	return endpoint{Addr: netip.MustParseAddr(addr), Port: port}
}

// The intruder's server, and a machine in the head office that is theirs too.
const (
	shellServer    = "203.0.113.66"
	shellServerSix = "2001:db8:ffff::66"
	shellOffice    = "10.50.7.9"
)

// shellFlows are the intruder's. One is untracked: it came in by a port that is open to everyone.
func shellFlows(w *world, m shellMachine, balancer *networkInterface, group string) {
	for _, f := range []flow{
		{Name: "shell-elastic-ip", Opener: m.admin.at(40001), Responder: outside(shellServer, 443)},
		{Name: "shell-public-ip", Opener: m.public.at(40002), Responder: outside(shellServer, 4444)},
		{Name: "shell-untracked", Opener: outside(shellServer, 40003), Responder: m.public.at(443)},
		{Name: "shell-ipv6", Opener: m.public.atSix(40004), Responder: outside(shellServerSix, 443)},
		{Name: "shell-egress-only", Opener: m.private.atSix(40005), Responder: outside(shellServerSix, 8443)},
		{Name: "shell-nat", Opener: m.private.at(40006), Responder: outside(shellServer, 8443)},
		{Name: "shell-transit", Opener: m.private.at(40007), Responder: outside(shellOffice, 4444)},
		{Name: "tunnel-endpoint", Opener: m.private.at(40008), Responder: m.endpoint.at(443)},
		{Name: "tunnel-udp", Protocol: "udp", Every: 20 * time.Second, Opener: m.admin.at(40009), Responder: outside(shellServer, 53)},
		{Name: "shell-balancer", Target: group, Opener: balancer.at(40010), Responder: m.public.at(8443)},
		{Name: "pivot-other-subnet", Opener: m.private.at(40011), Responder: m.data.at(5432)},
		{Name: "pivot-same-subnet", Opener: m.private.at(40012), Responder: m.build2.at(22)},
	} {
		f.Intruder = true
		w.addFlow(f)
	}
}

// neighbourFlows are the innocent ones, on the same paths.
func neighbourFlows(w *world, m shellMachine, balancer *networkInterface, group string) {
	for _, f := range []flow{
		{Name: "web-updates", Opener: m.web.at(40101), Responder: outside("203.0.113.10", 443)},
		{Name: "web-visitor", Opener: outside("203.0.113.200", 40102), Responder: m.web.at(443)},
		{Name: "web-updates-ipv6", Opener: m.web.atSix(40103), Responder: outside("2001:db8:ffff::10", 443)},
		{Name: "build-mirror-ipv6", Opener: m.build2.atSix(40104), Responder: outside("2001:db8:ffff::10", 443)},
		{Name: "build-mirror", Opener: m.build2.at(40105), Responder: outside("203.0.113.10", 443)},
		{Name: "build-office", Opener: m.build2.at(40106), Responder: outside("10.50.3.20", 9418)},
		{Name: "build-ssm", Opener: m.build2.at(40107), Responder: m.endpoint.at(443)},
		{Name: "build-resolver", Protocol: "udp", Every: 20 * time.Second, Opener: m.build3.at(40108), Responder: outside("203.0.113.53", 53)},
		{Name: "web-balancer", Target: group, Opener: balancer.at(40109), Responder: m.web.at(8443)},
		{Name: "build-data", Opener: m.build2.at(40110), Responder: m.data.at(5432)},
		{Name: "build-copy", Opener: m.build2.at(40111), Responder: m.build3.at(22)},
	} {
		w.addFlow(f)
	}
}
