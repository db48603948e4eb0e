package faultnet

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// script notes what is done to a network, and when.
type script struct {
	began time.Time
	log   []string
	err   error // of Swap
}

func (s *script) note(format string, args ...any) error {
	s.log = append(s.log, fmt.Sprint(time.Since(s.began), " ", fmt.Sprintf(format, args...)))
	return nil
}

func (s *script) Set(d Direction, f Faults) error { return s.note("%v: %v lost", d, f.Loss) }
func (s *script) Cut(d Direction) error           { return s.note("%v: cut", d) }
func (s *script) Mend(d Direction) error          { return s.note("%v: mended", d) }
func (s *script) RebindClient(c int) error        { return s.note("client %d", c) }
func (s *script) RebindServer() error             { return s.note("server") }
func (s *script) Swap(a, b int) error             { _ = s.note("swap %d %d", a, b); return s.err }

var everything = Schedule{
	{0, Set{BothWays, Faults{Loss: 0.5}}},
	{time.Second, Cut{ToServer}},
	{time.Second, RebindClient{3}},
	{2 * time.Second, Mend{ToClient}},
	{3 * time.Second, RebindServer{}},
	{time.Hour, Swap{1, 2}},
}

func TestScheduleIsPlayedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{began: time.Now()}
		require.NoError(t, everything.Play(t.Context(), s))
		require.Equal(t, []string{
			"0s both ways: 0.5 lost", "1s to the server: cut", "1s client 3", "2s to the client: mended", "3s server", "1h0m0s swap 1 2",
		}, s.log)
	})
}

func TestScheduleEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(2500*time.Millisecond, func() { cancel(why) })
		s := &script{began: time.Now()}
		require.ErrorIs(t, everything.Play(ctx, s), why)
		require.Len(t, s.log, 4)
		require.Equal(t, 2500*time.Millisecond, time.Since(s.began))

		s = &script{began: time.Now()}
		for range 100 {
			require.ErrorIs(t, everything.Play(ctx, s), why)
		}
		require.Empty(t, s.log, "nothing happens after the end")

		s = &script{began: time.Now(), err: errors.New("no such client")}
		err := append(everything, Step{time.Hour, RebindServer{}}).Play(t.Context(), s)
		require.ErrorIs(t, err, s.err)
		require.ErrorContains(t, err, "step 5, faultnet.Swap")
		require.Len(t, s.log, 6)
	})
}

func TestScheduleThatMakesNoSense(t *testing.T) {
	for why, s := range map[string]Schedule{
		"step 0 does nothing":                       {{}},
		"step 1 is at 1s, step 0 before it at 2s":   {{2 * time.Second, Cut{ToServer}}, {time.Second, Cut{ToServer}}},
		"step 0 is at -1s, before the beginning":    {{-time.Second, Cut{ToServer}}},
		"step 0: faultnet: Loss is 2, want a share": {{0, Set{ToServer, Faults{Loss: 2}}}},
		"step 1: faultnet: direction 0: want":       {{0, Cut{ToServer}}, {0, Cut{}}},
		"step 0: faultnet: direction 4: want":       {{0, Mend{BothWays + 1}}},
		"step 0: faultnet: direction 0: want ":      {{0, Set{}}},
	} {
		n := &script{began: time.Now()}
		require.ErrorContains(t, s.Play(t.Context(), n), why)
		require.Empty(t, n.log)
	}
	require.ErrorContains(t, Direction(7).each(func(Direction) error { return nil }), "direction 7: want ToServer, ToClient or BothWays")
}
