// Package clock is the only one that reads the time or sleeps. It imports
// nothing of ours; its types satisfy incident.Clock.
package clock
