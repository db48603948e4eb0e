package faultnet

import (
	"bytes"
	"math"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fates sends n packets of 100 bytes through a line with faults, and returns
// their deliveries.
func fates(t *testing.T, seed uint64, f Faults, n int) ([][]Delivery, Counts) {
	t.Helper()
	l := NewLine(seed, 1)
	require.NoError(t, l.Set(f))
	var all [][]Delivery
	for i := range n {
		all = append(all, l.Append(nil, numbered(i)))
	}
	c := l.Counts()
	require.EqualValues(t, n, c.Offered)
	require.Equal(t, c.Offered, c.Unharmed+c.Harmed+c.Dropped(), "each packet has one fate")
	deliveries := 0
	for _, d := range all {
		deliveries += len(d)
	}
	require.EqualValues(t, deliveries, c.Unharmed+c.Harmed+c.Duplicated)
	return all, c
}

func numbered(i int) []byte {
	b := bytes.Repeat([]byte{byte(i)}, 100)
	b[0] = byte(i >> 8)
	return b
}

// Every kind of fault does what it says, to as many packets as it says, and to
// the same ones each time.
func TestFaults(t *testing.T) {
	const n = 10_000
	for name, c := range map[string]struct {
		faults Faults
		want   Counts
		arrive func(t *testing.T, i int, d []Delivery)
	}{
		"none": {
			want: Counts{Unharmed: n},
			arrive: func(t *testing.T, i int, d []Delivery) {
				require.Equal(t, []Delivery{{Packet: numbered(i)}}, d)
			},
		},
		"loss":     {faults: Faults{Loss: 0.1}, want: Counts{Unharmed: 8995, Lost: 1005}},
		"all lost": {faults: Faults{Loss: 1}, want: Counts{Lost: n}},
		"burst":    {faults: Faults{Burst: Burst{Enter: 0.01, Leave: 0.25}}, want: Counts{Unharmed: 9615, Burst: 385}},
		"burst that lets half through": {
			faults: Faults{Burst: Burst{Enter: 0.01, Leave: 0.25, Loss: 0.5}, Loss: 0.1},
			want:   Counts{Unharmed: 8845, Burst: 182, Lost: 973},
		},
		"delay": {
			faults: Faults{Delay: time.Second}, want: Counts{Unharmed: n},
			arrive: func(t *testing.T, _ int, d []Delivery) { require.Equal(t, time.Second, d[0].After) },
		},
		"jitter": {
			faults: Faults{Delay: time.Second, Jitter: time.Second}, want: Counts{Unharmed: n},
			arrive: func(t *testing.T, _ int, d []Delivery) {
				require.GreaterOrEqual(t, d[0].After, time.Second)
				require.Less(t, d[0].After, 2*time.Second)
			},
		},
		"reorder": {
			faults: Faults{Reorder: 0.1, ReorderBy: time.Second}, want: Counts{Unharmed: 8969, Harmed: 1031, Reordered: 1031},
			arrive: func(t *testing.T, _ int, d []Delivery) {
				require.Contains(t, []time.Duration{0, time.Second}, d[0].After)
			},
		},
		"duplicate": {
			faults: Faults{Duplicate: 0.3}, want: Counts{Unharmed: 7041, Harmed: 2959, Duplicated: 2959},
			arrive: func(t *testing.T, i int, d []Delivery) {
				for _, d := range d {
					require.Equal(t, Delivery{Packet: numbered(i)}, d)
				}
			},
		},
		"corrupt": {
			faults: Faults{Corrupt: 1}, want: Counts{Harmed: n, Corrupted: n},
			arrive: func(t *testing.T, i int, d []Delivery) {
				flipped := 0
				for j, b := range numbered(i) {
					flipped += bits.OnesCount8(b ^ d[0].Packet[j])
				}
				require.Equal(t, 1, flipped)
			},
		},
		"MTU":       {faults: Faults{MTU: 99}, want: Counts{TooLong: n}},
		"MTU fits":  {faults: Faults{MTU: 100}, want: Counts{Unharmed: n}},
		"blackhole": {faults: Faults{Blackhole: true}, want: Counts{Blackholed: n}},
		"all at once": {
			faults: Faults{
				Loss: 0.1, Burst: Burst{Enter: 0.01, Leave: 0.5}, Delay: time.Second, Jitter: time.Second,
				Reorder: 0.1, Duplicate: 0.1, Corrupt: 0.1, MTU: 100,
			},
			want: Counts{Unharmed: 6390, Harmed: 2397, Reordered: 928, Duplicated: 863, Corrupted: 848, Lost: 985, Burst: 228},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.Offered = n
			all, counts := fates(t, 1, c.faults, n)
			require.Equal(t, c.want, counts)
			for i, d := range all {
				if c.arrive != nil && len(d) > 0 {
					c.arrive(t, i, d)
				}
			}
			again, _ := fates(t, 1, c.faults, n)
			require.Equal(t, all, again, "the same seed")
		})
	}
}

// Bursts have the number and the share of packets that the model gives them.
func TestBurstsComeTogether(t *testing.T) {
	all, counts := fates(t, 7, Faults{Burst: Burst{Enter: 0.02, Leave: 0.2}}, 100_000)
	bursts := 0
	for i, d := range all {
		if len(d) == 0 && (i == 0 || len(all[i-1]) > 0) {
			bursts++
		}
	}
	require.Equal(t, 1841, bursts, "one in 1/Enter + 1/Leave, so 55, packets: 1,818")
	require.EqualValues(t, 8906, counts.Burst, "Enter/(Enter+Leave), so an eleventh, of all: 9,091")
}

// What becomes of a packet depends on its place alone: not on the packets
// before it, on their sizes, or on what befell them.
func TestLuckDependsOnThePlace(t *testing.T) {
	faults := Faults{Loss: 0.2, Duplicate: 0.2, Corrupt: 0.2, Reorder: 0.2, Jitter: time.Second}
	want, _ := fates(t, 3, faults, 1000)
	l := NewLine(3, 1)
	other := rand.New(rand.NewPCG(1, 1))
	for i := range 500 {
		require.NoError(t, l.Set([]Faults{{}, {Blackhole: true}, {Loss: 1}, {Duplicate: 1, Corrupt: 1, Jitter: 1}, {MTU: 10}}[i%5]))
		l.Append(nil, make([]byte, other.IntN(200)))
	}
	require.NoError(t, l.Set(faults))
	for i := 500; i < 1000; i++ {
		require.Equal(t, want[i], l.Append(nil, numbered(i)), "packet %d", i)
	}
	for _, c := range []struct{ seed, stream uint64 }{{3, 2}, {4, 1}} {
		l := NewLine(c.seed, c.stream)
		require.NoError(t, l.Set(faults))
		same := 0
		for i := range 1000 {
			if reflect.DeepEqual(want[i], l.Append(nil, numbered(i))) {
				same++
			}
		}
		require.Less(t, same, 100, "of 1,000; one in 25 is lost in both")
	}
}

func TestAlteredPacketsAreCopies(t *testing.T) {
	l := NewLine(1, 1)
	require.NoError(t, l.Set(Faults{Corrupt: 1, Duplicate: 1}))
	packet := numbered(5)
	d := l.Append(nil, packet)
	require.Len(t, d, 2)
	require.Equal(t, numbered(5), packet, "the sender's bytes stay as they are")
	require.NotEqual(t, packet, d[0].Packet)
	require.Equal(t, packet, d[1].Packet, "the copy is unharmed")
	require.Equal(t, []Delivery{{Packet: []byte{}}}, l.Append(nil, []byte{})[:1], "an empty packet has no bit to flip")
	require.EqualValues(t, 1, l.Counts().Corrupted)
}

func TestCutAndMendKeepFaults(t *testing.T) {
	l := NewLine(1, 1)
	faults := Faults{Delay: time.Second}
	require.NoError(t, l.Set(faults))
	l.Cut()
	require.Empty(t, l.Append(nil, numbered(0)))
	l.Mend()
	require.Equal(t, faults, l.Faults())
	require.Equal(t, []Delivery{{After: time.Second, Packet: numbered(1)}}, l.Append(nil, numbered(1)))
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	for why, f := range map[string]Faults{
		"Loss is 1.5, want a share from 0 to 1":        {Loss: 1.5},
		"Duplicate is -0.1, want a share from 0 to 1":  {Duplicate: -0.1},
		"Corrupt is NaN, want a share from 0 to 1":     {Corrupt: math.NaN()},
		"Reorder is 2, want a share from 0 to 1":       {Reorder: 2},
		"Burst.Enter is 2, want a share from 0 to 1":   {Burst: Burst{Enter: 2, Leave: 1}},
		"Burst.Leave is -1, want a share from 0 to 1":  {Burst: Burst{Leave: -1}},
		"Burst.Loss is 3, want a share from 0 to 1":    {Burst: Burst{Loss: 3}},
		"the burst would never end":                    {Burst: Burst{Enter: 0.1}},
		"Delay -1s, Jitter 0s or ReorderBy 0s is nega": {Delay: -time.Second},
		"Jitter -1s":                      {Jitter: -time.Second},
		"ReorderBy -1s":                   {ReorderBy: -time.Second},
		"MTU is -1, want bytes, or 0 for": {MTU: -1},
	} {
		l := NewLine(1, 1)
		require.ErrorContains(t, l.Set(f), why)
		require.Zero(t, l.Faults(), "nothing changes")
	}
}
