// Package incident is the core: cases, targets, playbooks, plans, actions and
// the runner that executes them. It knows no AWS, no file and no screen, and
// imports the standard library only. Everything that happens is an Entry;
// everything anyone knows is a fold of entries (State).
//
// A Planner reads and makes a Plan; a Runner executes it, one intent in the
// journal before each step, and resumes what was killed or interrupted from
// the journal alone. A release is a plan like any other, made from what the
// journal says was done.
package incident
