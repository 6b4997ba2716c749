package diskimage

// equalPortable tells which bytes of a and b are equal: a bit for each, the lowest for the first.
func equalPortable(a, b *[glance]byte) (same uint64) {
	for at := 0; at < glance; at += 8 {
		same |= equalBytes(load(a[:], at)^load(b[:], at)) << at
	}
	return same
}

// equalBytes has a bit for each byte that is 0.
func equalBytes(x uint64) uint64 {
	const low = 0x7F7F7F7F7F7F7F7F
	none := ^(x&low + low | x | low) // the highest bit of each such byte
	return none >> 7 * 0x0102040810204080 >> 56
}
