package diskimage

// equal is equalPortable in a quarter of its instructions: SSE2, which every amd64 processor has.
//
//go:noescape
func equal(a, b *[glance]byte) uint64
