// Package incident is the core: cases, targets, playbooks, plans, actions and
// the runner that executes them. It knows no AWS, no file and no screen, and
// imports the standard library only. Everything that happens is an Entry;
// everything anyone knows is a fold of entries.
package incident
