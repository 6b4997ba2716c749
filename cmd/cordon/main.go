// Command cordon closes off a compromised EC2 instance, takes its evidence
// into custody and opens a clean room to examine it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/cordon-ir/cordon/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal cancels; a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
