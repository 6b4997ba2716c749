package diskimage

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// combine returns the CRC-32C of a ‖ b, of which only the sums and b's length
// are known. A CRC is the remainder of a polynomial: a's has to be multiplied by x to
// the number of b's bits. So every byte is summed once, while the processor's cache has it.
func combine(a, b uint32, bytes int) uint32 {
	square := uint32(1 << 23) // x⁸, a byte; the highest bit is x⁰
	for ; bytes > 0; bytes >>= 1 {
		if bytes&1 != 0 {
			a = multiply(a, square)
		}
		square = multiply(square, square)
	}
	return a ^ b
}

// multiply two polynomials modulo CRC-32C's; their bits are reversed, as its are.
func multiply(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		if a&(1<<31) != 0 {
			product ^= b
		}
		carry := b & 1
		b = b>>1 ^ crc32.Castagnoli*carry
	}
	return product
}
