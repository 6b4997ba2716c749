// Package conformance holds cordon against implementations of AWS that others
// wrote: an emulator over the wire, AWS's own service models, linters. It has
// tests only. docs/testing.md says what is tested where.
package conformance
