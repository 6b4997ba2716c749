// Package quota is how many calls AWS allows: the token buckets that it
// documents for its APIs, and which of them a call draws on. It imports nothing
// of ours and calls nobody.
package quota
