// Package evidence says what an item of evidence is, what a custody event is,
// and what a store must guarantee. It imports package incident only.
package evidence
