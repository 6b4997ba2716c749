// Package capture takes evidence: what AWS knows of an instance, what it says of
// itself while it runs, its memory, snapshots of its volumes and copies of them, an
// image, and the raw disks as files in the evidence store. It imports incident,
// evidence, diskimage and AWS clients. It changes nothing in AWS but what it makes and
// with whom that is shared, and never deletes anything: evidence is not undone. On the
// host only capture.live and capture.memory do something, through its SSM agent.
package capture
