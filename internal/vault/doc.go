// Package vault keeps evidence: in an S3 bucket with Object Lock, or in a
// directory. Both satisfy evidence.Store and pass evidence/storetest. It
// never deletes an object and never shortens a retention.
package vault
