package path

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// arrival is what a test sees of a packet.
type arrival struct {
	after  time.Duration // since the beginning
	number uint32
}

// offer runs a line in virtual time: packets of a size come at an interval, and
// are numbered. It returns what arrived, with the counts.
func offer(t *testing.T, c Config, packets, size int, every time.Duration) (arrived []arrival, counts Counts) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := newLine(c, 0)
		ended := make(chan struct{})
		begun := time.Now()
		go func() {
			defer close(ended)
			l.run(ctx, func(b []byte) error {
				require.Len(t, b, size)
				arrived = append(arrived, arrival{time.Since(begun), binary.BigEndian.Uint32(b)})
				return nil
			})
		}()
		b := make([]byte, size)
		for n := range packets {
			binary.BigEndian.PutUint32(b, uint32(n))
			l.take(time.Now(), b)
			time.Sleep(every)
		}
		time.Sleep(time.Minute)
		cancel()
		<-ended
		counts = l.snapshot()
		require.Zero(t, l.count, "nothing is left")
	})
	require.EqualValues(t, packets, counts.Passed+counts.Lost+counts.QueueFull+counts.Faults(), "each packet is in one count")
	require.Len(t, arrived, int(counts.Passed))
	require.EqualValues(t, len(arrived)*size, counts.Bytes)
	for i := 1; i < len(arrived); i++ {
		require.Less(t, arrived[i-1].number, arrived[i].number, "in order")
	}
	return arrived, counts
}

func TestDelayOfEachPacket(t *testing.T) {
	const every = 3 * time.Millisecond
	arrived, counts := offer(t, Config{Delay: 25 * time.Millisecond}, 1000, 100, every)
	require.EqualValues(t, 1000, counts.Passed)
	for n, a := range arrived {
		require.Equal(t, time.Duration(n)*every+25*time.Millisecond, a.after)
	}
}

// Twice as much as the path takes: what arrives does so at the path's rate, and
// the rest is dropped by the queue.
func TestRateOfWhatArrives(t *testing.T) {
	const (
		rate  = 100_000_000
		size  = 1440
		delay = 25 * time.Millisecond
	)
	perPacket := time.Duration(float64((size+headers)*8) / rate * float64(time.Second))
	arrived, counts := offer(t, Config{Rate: rate, Delay: delay}, 20_000, size, perPacket/2)
	require.InEpsilon(t, 10_000, counts.Passed, 0.05, "half of it, and what the queue holds")
	require.EqualValues(t, 20_000-counts.Passed, counts.QueueFull)
	for n, a := range arrived {
		require.InDelta(t, delay+time.Duration(n+1)*perPacket, a.after, float64(time.Microsecond))
	}
}

// A full queue delays packets by its size over the rate.
func TestQueueIsBounded(t *testing.T) {
	const size = 1000 - headers
	c := Config{Rate: 8_000_000, Queue: 50_000} // 1 ms a packet, 50 packets
	arrived, counts := offer(t, c, 80, size, 0)
	require.EqualValues(t, 50, counts.Passed)
	require.EqualValues(t, 30, counts.QueueFull)
	require.Equal(t, 50*time.Millisecond, arrived[49].after)
}

func TestQueueOfOneBandwidthDelayProduct(t *testing.T) {
	require.Equal(t, 625_000, Config{Rate: 100_000_000, Delay: 25 * time.Millisecond}.queue())
	require.Equal(t, minQueue, Config{Rate: 100_000_000}.queue())
	require.Equal(t, 7, Config{Rate: 100_000_000, Queue: 7}.queue())
}

func TestLossIsThatOfTheSeed(t *testing.T) {
	fates := func(seed uint64, every time.Duration) (lost map[uint32]bool) {
		arrived, counts := offer(t, Config{Loss: 0.01, Seed: seed, Delay: time.Millisecond}, 20_000, 50, every)
		require.InDelta(t, 200, counts.Lost, 60, "more than four standard deviations")
		lost = make(map[uint32]bool)
		for n := range uint32(20_000) {
			lost[n] = true
		}
		for _, a := range arrived {
			delete(lost, a.number)
		}
		return lost
	}
	first := fates(1, time.Microsecond)
	require.Equal(t, first, fates(1, time.Millisecond), "whenever they come")
	require.NotEqual(t, first, fates(2, time.Microsecond))
}

// A lost packet has used the bottleneck, as on a wire.
func TestLossDoesNotRaiseTheRate(t *testing.T) {
	c := Config{Rate: 8_000_000, Loss: 0.5, Queue: 1 << 20}
	arrived, counts := offer(t, c, 1000, 1000-headers, 0)
	require.NotZero(t, counts.Lost)
	for _, a := range arrived {
		require.Equal(t, time.Duration(a.number+1)*time.Millisecond, a.after)
	}
}

func TestHeldPacketsAreBounded(t *testing.T) {
	_, counts := offer(t, Config{Delay: time.Second}, maxHeld+100, 50, 0)
	require.EqualValues(t, maxHeld, counts.Passed)
	require.EqualValues(t, 100, counts.TooMany)
}

func TestTooLongForAFrame(t *testing.T) {
	_, counts := offer(t, Config{}, 3, maxPayload+1, 0)
	require.Equal(t, Counts{TooLong: 3}, counts)
	_, counts = offer(t, Config{}, 3, maxPayload, 0)
	require.EqualValues(t, 3, counts.Passed)
}

func TestPacketThatCannotBeWritten(t *testing.T) {
	l := newLine(Config{}, 0)
	now := time.Now()
	l.take(now, []byte("a"))
	l.take(now, []byte("b"))
	arrived, _ := l.due(now, nil)
	l.deliver(arrived, func(b []byte) error {
		if string(b) == "a" {
			return errors.New("no")
		}
		return nil
	})
	require.Equal(t, Counts{Passed: 1, Bytes: 1, Unsent: 1}, l.snapshot())
}

// Buffers are used again: a line allocates nothing once it has run a while.
func TestLineAllocatesNothing(t *testing.T) {
	l := newLine(Config{Rate: 1_000_000_000}, 0)
	now := time.Now()
	b, arrived := make([]byte, 1000), make([][]byte, 0, batch)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		for range 10 {
			l.take(now, b)
		}
		now = now.Add(time.Millisecond)
		arrived, _ = l.due(now, arrived[:0])
		if len(arrived) != 10 { // without require, which allocates
			t.Fatal("not all arrived")
		}
		l.deliver(arrived, func([]byte) error { return nil })
	}))
}
