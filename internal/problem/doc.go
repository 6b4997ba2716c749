// Package problem collects what is wrong with a file that a person wrote, each
// thing with its place, so that all of it is reported at once. Playbooks and the
// configuration use it. It imports the standard library only.
package problem
