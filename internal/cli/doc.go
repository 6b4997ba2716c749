// Package cli is the composition root: it wires actions, stores, clients and
// the journal together, explicitly, and maps errors to exit codes. One file
// per command; nothing here knows how a thing is done.
package cli
