package proof

// Declared are the ways out that a room has by intent, each with the reason.
// Whatever else leads out of it fails the proof.
type Declared struct {
	Endpoints []DeclaredEndpoint
	// Role is what the role of an examination instance may do.
	Role []Permission
	// ACLs are entries of network ACLs, as ACLEntry.String has them, that lead out of the network, with
	// the reason: an ACL can't name a service's addresses by its prefix list.
	ACLs map[string]string
	// DNS says why the resolver may answer everything; empty: it must be behind a DNS firewall.
	DNS string
	// Domains are those that the DNS firewall may let be asked for.
	Domains []string
}

// DeclaredEndpoint is an endpoint that a room may have.
type DeclaredEndpoint struct {
	Service string // s3: what follows com.amazonaws.REGION.
	Why     string
	// Allows is what its policy may allow. Where a resource names neither a bucket nor the room's
	// account, who asks must be confined to the room's account or roles.
	Allows []Permission
}

// Permission is actions on resources, with IAM's wildcards.
type Permission struct{ Actions, Resources []string }

// endpoint finds the declaration of a service in the Region.
func (d *Declared) endpoint(region, service string) (DeclaredEndpoint, bool) {
	for _, e := range d.Endpoints {
		if service == "com.amazonaws."+region+"."+e.Service {
			return e, true
		}
	}
	return DeclaredEndpoint{}, false
}
