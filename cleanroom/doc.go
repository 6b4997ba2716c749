// Package cleanroom opens a closed network with an examination instance, hands
// it copies of what was captured, proves that nothing leads out, and takes it down
// again. It imports incident, evidence, proof, diskimage and AWS clients. It never touches the
// evidence itself: the room works on volumes made from the snapshots.
package cleanroom
