package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// steady are samples of a process that swings, and grows by so much each time.
func steady(grow sample) (samples []sample) {
	for i := range 100 {
		n := int64(i)
		swing := n % 7
		samples = append(samples, sample{
			At:         time.Duration(i) * time.Second,
			Goroutines: 300 + int(swing) + i*grow.Goroutines, Files: 20 + i*grow.Files,
			Heap: 8<<20 + swing<<16 + n*grow.Heap, RSS: 30<<20 + swing<<16 + n*grow.RSS,
			Sessions: 50 + int(swing) + i*grow.Sessions, Links: 8 + i*grow.Links,
		})
	}
	return samples
}

func TestWhatGrowsIsFound(t *testing.T) {
	grown := func(grow sample) (names []string) {
		for _, c := range courses(steady(grow)) {
			if !c.flat() {
				names = append(names, c.what)
				require.Contains(t, c.String(), "GROWN")
			}
		}
		return names
	}
	require.Empty(t, grown(sample{}))
	require.Equal(t, []string{"goroutines"}, grown(sample{Goroutines: 2}))
	require.Equal(t, []string{"files"}, grown(sample{Files: 1}))
	require.Equal(t, []string{"heap, KiB"}, grown(sample{Heap: 100 << 10}))
	require.Equal(t, []string{"resident, KiB"}, grown(sample{RSS: 400 << 10}))
	require.Equal(t, []string{"sessions"}, grown(sample{Sessions: 1}))
	require.Equal(t, []string{"links"}, grown(sample{Links: 1}))
}

// The beginning does not count, and where there is no more, nothing does.
func TestSteadyPartLeavesTheBeginningOut(t *testing.T) {
	all := steady(sample{})
	require.Equal(t, 10*time.Second, steadyPart(all, time.Minute)[0].At)
	require.Equal(t, 50*time.Second, steadyPart(all, 500*time.Second)[0].At)
	require.Empty(t, steadyPart(all[:10], time.Minute))
}

func TestMedianAndTrend(t *testing.T) {
	require.EqualValues(t, 3, median([]int64{9, 1, 3}))
	require.EqualValues(t, 30, trend([]int64{10, 20, 30, 40}))
	require.EqualValues(t, 0, trend([]int64{5}))
	require.EqualValues(t, 0, trend([]int64{5, 9, 9, 5}))
}

func TestSumsThatDoNotAddUpAreFound(t *testing.T) {
	good := func() session.Stats {
		s := session.Stats{Complete: true, Lost: 1, LostIncoming: 2, Remote: session.Tally{Sent: 12, Received: 7}}
		s.Local = datagram.Counts{Pushed: 9, Sent: 8, Received: 10, Dropped: 2, Unread: 1, Late: 1}
		s.Local.SendDrops[datagram.ReasonExpired] = 1
		s.Local.ReceiveDrops[datagram.ReasonOldest] = 2
		s.Local.ReceiveDrops[datagram.ReasonDiscarded] = 3
		s.Local.ReceiveDrops[datagram.ReasonLate] = 1
		return s
	}
	require.Empty(t, sumsWrong(good(), 9, 4))
	require.NotEmpty(t, sumsWrong(good(), 8, 4))
	require.NotEmpty(t, sumsWrong(good(), 9, 5))
	for name, spoil := range map[string]func(*session.Stats){
		"sent":         func(s *session.Stats) { s.Local.Sent++ },
		"queued":       func(s *session.Stats) { s.Local.Queued, s.Local.Sent, s.Lost = 1, 7, 0 },
		"dropped":      func(s *session.Stats) { s.Local.ReceiveDrops[datagram.ReasonOldest]++ },
		"late":         func(s *session.Stats) { s.Local.Late++ },
		"lost":         func(s *session.Stats) { s.Lost++ },
		"lost of ours": func(s *session.Stats) { s.LostIncoming-- },
	} {
		s := good()
		spoil(&s)
		require.NotEmpty(t, sumsWrong(s, 9, 4), "%s", name)
	}

	link := quicpeer.LinkInfo{Datagrams: datagram.MuxCounts{Received: 5, Accepted: 4}}
	require.NotEmpty(t, linksWrong([]quicpeer.LinkInfo{link}))
	link.Datagrams.DatagramDrops[datagram.ReasonDuplicate] = 1
	require.Empty(t, linksWrong([]quicpeer.LinkInfo{link}))
}
