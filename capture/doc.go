// Package capture takes evidence: what AWS knows of an instance, snapshots of
// its volumes, an image, and the raw disks as files in the evidence store. It
// imports incident, evidence and AWS clients. It never changes the instance
// and never deletes anything: evidence is not undone.
package capture
