// Command cordon closes off a compromised EC2 instance, takes its evidence
// into custody and opens a clean room to examine it.
package main

import (
	"context"
	"os"

	"github.com/cordon-ir/cordon/internal/cli"
)

func main() {
	os.Exit(cli.Execute(cli.UntilSignal(context.Background()), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
