// Package journal is the record of a case: append-only, hash-chained entries in
// one bbolt file, a Merkle tree over them and signed checkpoints of that tree.
// The process that holds a case writes its journal and serves it to others over
// a Unix socket in the case's directory. The format, and how a stranger
// verifies it, is docs/journal-format.md.
//
// It imports incident and no other package of ours, and knows nothing of AWS.
// It never writes an entry that was not asked for, never changes one, and
// never signs a tree that contradicts an earlier signature.
package journal
