//go:build race

package cli

// everyMoment: the race detector, eight times slower, looks at every seventh
// death; without it every one is died.
const everyMoment = 7
