//go:build race

package cli

// everyMoment: the race detector, eight times slower, looks at every eleventh
// death; without it every one is died.
const everyMoment = 11

// everyKill: of the ten deaths of processes it looks at the first, the fifth and the ninth: their
// moments are not of another kind.
const everyKill = 4

// inventorySize: so many instances share the same few goroutines.
const inventorySize = 1_000
