// Package diskimage writes the blocks of a snapshot as a disk image into an
// evidence store and reads it back: docs/evidence-format.md. It knows nothing of AWS
// and reads no clock. Its memory does not grow with the disk.
package diskimage
