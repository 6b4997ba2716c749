// Package triage judges an instance before anything is done to it: whose it is,
// what it holds, who reaches it, who serves beside it, how far its credentials go,
// and what cutting it off would break. It computes from what package survey has read,
// never asks AWS itself and never changes anything, so that whoever shows a
// result can read it back from its JSON.
package triage
