package quicpeer

import "log/slog"

// testFaults tells nobody.
func testFaults() *socketFaults { return newSocketFaults(slog.New(slog.DiscardHandler)) }
