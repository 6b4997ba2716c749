//go:build !race

package cli

const everyMoment = 1
