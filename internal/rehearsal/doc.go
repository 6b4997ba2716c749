// Package rehearsal is a simulated AWS account behind the real SDK: the
// clients, their validation, retries, paginators and waiters are real; a
// middleware after Retry answers instead of the network. It does what the
// product calls, faithfully, each operation by the AWS page it names; it is not a
// general emulator. An operation nobody wrote fails loudly.
package rehearsal
