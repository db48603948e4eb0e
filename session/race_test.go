//go:build race

package session

// raceDetector: the race detector watches, and everything takes ten times as
// long.
const raceDetector = true
