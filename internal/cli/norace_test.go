//go:build !race

package cli

const (
	everyMoment   = 1
	everyKill     = 1
	inventorySize = 10_000
)
