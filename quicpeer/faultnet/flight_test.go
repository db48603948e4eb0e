package faultnet

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Packets arrive when they are due, those of the same time in the order in
// which they were sent; one that is due sooner does not wait for the others.
func TestFlightKeepsTimeAndOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlight()
		over := make(chan struct{})
		go func() { defer close(over); f.run() }()
		began := time.Now()
		var order []int
		var times []time.Duration
		send := func(i int, after time.Duration) {
			require.True(t, f.add(time.Now().Add(after), 1, func() {
				order, times = append(order, i), append(times, time.Since(began))
			}))
		}
		send(0, 3*time.Second)
		send(1, 2*time.Second)
		for i := 2; i < 10; i++ {
			send(i, time.Second)
		}
		synctest.Wait()
		send(10, 0)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, []int{10, 2, 3, 4, 5, 6, 7, 8, 9, 1, 0}, order)
		require.Equal(t, []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second}, []time.Duration{times[0], times[1], times[9], times[10]})
		require.Zero(t, f.bytes)

		send(11, time.Second)
		f.close()
		<-over
		send(12, 0)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Len(t, order, 11, "what is on its way at the end is gone")
	})
}

// A flight takes so many packets and bytes, and no more.
func TestFlightIsBounded(t *testing.T) {
	f := newFlight()
	at := time.Now()
	for range maxFlying {
		require.True(t, f.add(at, 1, func() {}))
	}
	require.False(t, f.add(at, 1, func() {}), "packets")

	f = newFlight()
	require.True(t, f.add(at, maxFlyingBytes-10, func() {}))
	require.False(t, f.add(at, 11, func() {}), "bytes")
	require.True(t, f.add(at, 10, func() {}))
	f.close()
	f.run()
}
