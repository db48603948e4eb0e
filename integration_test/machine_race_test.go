//go:build race

package integration_test

// raceHere: quic-go v0.65.0 notes that a device cannot cut segments (EIO) without
// synchronization, which the race detector reports in tests that provoke it.
const raceHere = true
