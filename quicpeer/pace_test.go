package quicpeer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPace(t *testing.T) {
	p := pace{burst: 3, every: 10 * time.Second}
	now := time.Now()
	took := func(after time.Duration, tries int) (n int) {
		now = now.Add(after)
		for range tries {
			if p.take(now) {
				n++
			}
		}
		return n
	}
	require.Equal(t, 3, took(0, 10), "a burst at once")
	require.Equal(t, 0, took(10*time.Second-1, 10))
	require.Equal(t, 1, took(1, 10), "then one in each interval, to the nanosecond")
	for range 1000 {
		require.Equal(t, 0, took(time.Millisecond, 1), "tries that fail cost nothing")
	}
	require.Equal(t, 1, took(9*time.Second, 10))
	require.Equal(t, 3, took(time.Hour, 10), "never more than a burst")
	require.Equal(t, 0, took(-time.Hour, 10), "a clock that is set back")
	require.Equal(t, 1, took(10*time.Second, 10), "takes nothing away")
}

func TestSeldomTellsHowMany(t *testing.T) {
	s := newSeldom(1, time.Second)
	now := time.Now()
	n, ok := s.next(now, 2)
	require.True(t, ok, "at once")
	require.EqualValues(t, 2, n)
	for range 10 {
		_, ok = s.next(now, 2)
		require.False(t, ok)
	}
	n, ok = s.next(now.Add(time.Second), 2)
	require.True(t, ok)
	require.EqualValues(t, 22, n, "those that were silent, too")
}
