package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// UntilSignal returns a context that the process's first SIGINT, SIGTERM or
// SIGHUP ends, for [Execute]. A second SIGINT or SIGTERM ends the process at
// once. A second SIGHUP does not: a terminal that goes away sends one from the
// kernel and often one more from the shell, and a run shall end in order. Where
// SIGHUP was ignored from the start, as under nohup, it stays so.
func UntilSignal(parent context.Context) context.Context {
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if signal.Ignored(syscall.SIGHUP) {
		return ctx
	}
	// Never stopped: until the process ends, SIGHUP is caught.
	hungUp, _ := signal.NotifyContext(ctx, syscall.SIGHUP)
	context.AfterFunc(hungUp, stop)
	return hungUp
}
