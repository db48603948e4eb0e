//go:build !race

package integration_test

const raceHere = false
