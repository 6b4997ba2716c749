// Package isolate holds the actions that close an instance off: protect it
// from being terminated, take it out of its Auto Scaling group and load
// balancers, revoke its credentials, cut its network. Every one is convergent,
// verified and can be undone exactly.
//
// The package imports incident and AWS service clients only. It decides
// nothing about order: the engine does, by what an action provides and requires.
//
// Each action keeps its own small before-state. Where Plan is given the
// proposal that was approved (Request.Planned), what the approved plan saw and
// AWS no longer shows is taken from there: an earlier step or an earlier,
// failed try of the same one took it away, and a release has to bring it back.
package isolate
