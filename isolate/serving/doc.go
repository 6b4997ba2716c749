// Package serving tells who serves beside an instance: the other targets of its
// load balancers, and whether its Auto Scaling group could launch a replacement.
// It reads and computes; isolate acts.
package serving
