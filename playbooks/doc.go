// Package playbooks reads playbooks: YAML that says which actions to use on a
// target, in what order and under which conditions. Parsing is strict, and what it accepts
// can be planned: every name, reference, type and dependency has been checked against the actions' specs,
// and everything that is wrong is reported at once, with file and line. It
// holds the shipped playbooks and the JSON Schema of the format, which
// docs/playbook-format.md describes. It imports incident and problem, and never calls AWS.
package playbooks
