package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// halves are three rounds in which an attacker whose links were closed as
// violations has harmed nobody.
func halves() (without, with []half) {
	violation := session.CodeViolation.String()
	for range 3 {
		w := half{seconds: 3, honest: honestSample{Confirmed: 150, Newcomers: 12}}
		w.end.Messages, w.end.LogLines = 120_000, 36
		h := w
		h.end.Stats = quicpeer.Stats{Violations: 300}
		h.attacker = attackerTally{Acts: 300, Packets: 3000, Bytes: 300_000, Cut: map[string]uint64{violation: 300}}
		without, with = append(without, w), append(with, h)
	}
	return without, with
}

func judged(t *testing.T, name string, spoil func(r *result, h *half)) []string {
	t.Helper()
	a, err := find(name)
	require.NoError(t, err)
	without, with := halves()
	r := &result{Attack: name, Times: 1, Rounds: 3, Seconds: 3}
	for i := range with {
		spoil(r, &with[i])
	}
	r.fill(a, without, with)
	return r.Broken
}

// Every bound is found broken if it is.
func TestBoundsThatDoNotHoldAreFound(t *testing.T) {
	const a = "settings" // one whose links are cut
	require.Empty(t, judged(t, a, func(*result, *half) {}))
	for want, spoil := range map[string]func(*result, *half){
		"the attacker did nothing":            func(_ *result, h *half) { h.attacker.Acts = 0 },
		"MiB of memory":                       func(_ *result, h *half) { h.end.PeakRSS = memoryBound + 1 },
		"lines in the log":                    func(_ *result, h *half) { h.end.LogLines = logBound + 3*logPace + 1 },
		"honest throughput is 89 %":           func(_ *result, h *half) { h.end.Messages = 107_000 },
		"honest throughput is 49 %":           func(r *result, h *half) { h.end.Messages, r.Rounds = 59_000, 1 },
		"no honest peer has closed a session": func(_ *result, h *half) { h.honest.Confirmed = 0 },
		"no newcomer got in":                  func(_ *result, h *half) { h.honest.Newcomers = 0 },
		"3 closes of honest peers were not":   func(_ *result, h *half) { h.honest.Failed = 1 },
		"3 of 39 newcomers did not get in":    func(_ *result, h *half) { h.honest.TurnedAway = 1 },
		"3 sessions of honest peers ended":    func(_ *result, h *half) { h.honest.Lost = 1 },
		"no violation was counted":            func(_ *result, h *half) { h.end.Stats.Violations = 0 },
		"897 violations were counted":         func(_ *result, h *half) { h.end.Stats.Violations = 299 },
		"no link was closed for it":           func(_ *result, h *half) { h.attacker.Cut = nil },
		"6 links were not closed for it":      func(_ *result, h *half) { h.attacker.Notes = map[string]uint64{notCutOff: 2} },
	} {
		require.Contains(t, strings.Join(judged(t, a, spoil), "; "), want)
	}
	require.Empty(t, judged(t, a, func(r *result, h *half) { h.end.Messages, r.Rounds = 61_000, 1 }), "a short run may be noisy")

	reset := map[string]uint64{session.CodeViolation.String(): 300}
	good := func(_ *result, h *half) { h.attacker.Cut, h.attacker.Reset = nil, reset }
	require.Empty(t, judged(t, "frames-over-limit", good))
	for want, spoil := range map[string]func(*result, *half){
		"violations were counted in 900 sessions": func(r *result, h *half) { good(r, h); h.end.Stats.Violations = 250 },
		"of 900 sessions were reset for it": func(_ *result, h *half) {
			h.attacker.Cut, h.attacker.Reset = nil, map[string]uint64{session.CodeViolation.String(): 250}
		},
		"links were closed": func(_ *result, h *half) { h.attacker.Reset = reset },
	} {
		require.Contains(t, strings.Join(judged(t, "frames-over-limit", spoil), "; "), want)
	}
	require.Contains(t, judged(t, "goaways", func(_ *result, h *half) { h.attacker.Cut, h.end.LogLines = nil, 136 }), "100 lines in the log because of it")
	require.Contains(t, judged(t, "strangers", func(_ *result, h *half) { h.attacker.Notes = map[string]uint64{notRefused: 1} }), "3 were not refused")
	require.Contains(t, judged(t, "handshakes-unfinished", func(_ *result, h *half) {
		h.attacker.Notes = map[string]uint64{completeForClient: 65}
	}), "195 had a place, of 192")
}

func TestRecoveryIsPartOfTheResult(t *testing.T) {
	r := &result{recovered: recovered{seconds: 20, left: 1 << 10}}
	r.conclude()
	require.Empty(t, r.Broken)
	require.Contains(t, r.recovery(), "after 20 s, heap +1 KiB")
	r = &result{recovered: recovered{broken: "the victim has died"}}
	r.conclude()
	require.Equal(t, []string{"the victim has died"}, r.Broken)
	require.Contains(t, r.recovery(), "NOT back")
}

// What makes no sense is refused before anything begins, and says what would.
func TestFlagsThatMakeNoSense(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"pings"}, `"pings" is no flag`},
		{[]string{"--attacks", "pings,pong"}, `there is no attack "pong"; --list`},
		{[]string{"--rounds", "0"}, "want at least 1"},
		{[]string{"--times", "2000"}, "1 to 1000"},
		{[]string{"--load", "1"}, "want at least 4"},
		{[]string{"--for", "-1s"}, "want 100ms to 5m"},
		{[]string{"--for", "1h"}, "want 100ms to 5m"},
		{[]string{"--json", "result.md"}, "result.md: invalid character"},
	} {
		require.ErrorContains(t, run(t.Context(), c.args), c.want, "%v", c.args)
	}
}

// A pace lets no more happen than its rate, whoever shares it.
func TestPaceKeepsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, p := time.Now(), newPace(1000)
		for range 3 {
			require.True(t, p.wait(t.Context(), 10))
		}
		require.Equal(t, 20*time.Millisecond, time.Since(began))
		require.EqualValues(t, 30, p.taken())
	})
}
