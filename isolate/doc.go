// Package isolate holds the actions that close an instance off: protect it
// from being terminated, take it out of its Auto Scaling group and load
// balancers, revoke its credentials or an access key, cut its network. Every one is
// convergent, verified and can be undone exactly. isolate.observe, which changes
// nothing that stays, watches what still passes after the cut.
//
// The package imports incident, reach, serving and AWS service clients. It decides
// nothing about order: the engine does, by what an action provides and requires.
//
// Each action keeps its own small before-state, read right before its step
// starts. Only what an earlier step of the same plan, or someone else, may have
// taken away by then is kept from the plan that was approved
// (Request.Planned): registrations that end with leaving an Auto Scaling
// group, an instance profile whose credentials are still valid.
package isolate
