package quicpeer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFeedHoldsForAMomentNowAndThen(t *testing.T) {
	var f feed
	now := time.Now()
	require.LessOrEqual(t, f.wait(now), time.Duration(0), "nothing was written")
	f.hold(now)
	require.Equal(t, feedHold, f.wait(now))
	f.hold(now.Add(feedHold / 2))
	require.Equal(t, feedHold/4, f.wait(now.Add(feedHold*3/4)), "one hold at a time")
	f.hold(now.Add(feedHold + feedRest))
	require.LessOrEqual(t, f.wait(now.Add(feedHold+feedRest)), time.Duration(0), "messages are to flow, too")
	f.hold(now.Add(2 * feedRest))
	require.Equal(t, feedHold, f.wait(now.Add(2*feedRest)))
}

// The wall clock may be set back while a hold lasts: it must not last until the
// clock has caught up.
func TestFeedIsNotHeldByAClockThatWasSetBack(t *testing.T) {
	var f feed
	now := time.Now()
	f.hold(now)
	require.LessOrEqual(t, f.wait(now.Add(-time.Hour)), time.Duration(0))
	f.hold(now.Add(-time.Hour))
	require.Equal(t, feedHold, f.wait(now.Add(-time.Hour)), "by the new time")
}
