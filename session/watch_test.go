package session

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSnapshot(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		require.Equal(t, Snapshot{
			State: StateOpen, RemoteAddr: p.client.RemoteAddr(),
			MaxMessageSize: DefaultMaxMessage, DatagramSize: p.a.DatagramSize(),
		}, p.a.Snapshot())
	})
}

func TestWaitChange(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		p.aStream.slow(time.Second)
		p.bStream.slow(time.Second)
		last := p.a.Snapshot()
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		got, err := p.a.WaitChange(ctx, last)
		require.Equal(t, context.DeadlineExceeded, err)
		require.Equal(t, last, got)

		// next waits for one more change, which happen brings about.
		next := func(happen func()) {
			t.Helper()
			result := make(chan Snapshot, 1)
			go func() {
				n, err := p.a.WaitChange(background, last)
				require.NoError(t, err)
				result <- n
			}()
			synctest.Wait()
			require.Empty(t, result)
			happen()
			last = <-result
		}
		moved := &net.UDPAddr{IP: net.IPv4(198, 51, 100, 7), Port: 9}
		next(func() {
			p.client.set(func() { p.client.remote = moved })
			p.ra.LinkChanged()
		})
		require.Equal(t, moved, last.RemoteAddr)
		require.Equal(t, moved, p.a.RemoteAddr())
		next(func() {
			p.client.set(func() { p.client.limits.MaxMessage++ })
			p.ra.LinkChanged()
		})
		require.Equal(t, DefaultMaxMessage+1, last.MaxMessageSize)
		next(func() {
			p.client.mux.SetMaxDatagram(500)
			p.ra.LinkChanged()
		})
		require.Equal(t, 500-messageOverhead-1, last.DatagramSize)
		next(func() { go func() { _ = p.a.Close(background) }() })
		require.Equal(t, StateClosing, last.State)
		require.ErrorIs(t, last.Err, &Error{Cause: CauseClosed})
		next(func() {})
		require.True(t, last.Err.(*Error).Confirmed)
		if last.State != StateClosed { // it may be there already
			next(func() {})
		}
		require.Equal(t, StateClosed, last.State)
		got, err = p.a.WaitChange(background, last)
		require.Equal(t, last, got)
		require.Same(t, last.Err, err, "nothing will change any more")
	})
}

func TestSnapshotOfNoAddress(t *testing.T) {
	require.True(t, Snapshot{}.equal(Snapshot{}))
	require.False(t, Snapshot{}.equal(Snapshot{RemoteAddr: &net.UDPAddr{}}))
}
