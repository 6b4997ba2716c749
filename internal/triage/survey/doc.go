// Package survey reads from AWS what package triage judges: the inventory, and
// all that surrounds an instance. It only reads.
package survey
