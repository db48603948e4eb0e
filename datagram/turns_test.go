package datagram

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A flow that floods with full-size messages and one that sends small ones get the same bytes.
func TestFairTurns(t *testing.T) {
	for name, sizes := range map[string][]int{
		"same sizes":             {500, 500, 500},
		"large and small":        {1000, 10, 300},
		"one needs fragments":    {5000, 10, 700},
		"as large as a datagram": {1096, 1095, 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := newTestMux(t, MuxConfig{})
			flows := make([]*Flow, len(sizes))
			for i := range sizes {
				flows[i] = m.open(uint64(2*i), FlowConfig{SendMessages: 1 << 20})
			}
			bytes := make(map[uint64]int) // by session, on the wire
			for range 800 {
				for i, f := range flows {
					for f.Counts().QueuedBytes < 5000 {
						m.push(f, strings.Repeat("x", sizes[i]), SendOptions{})
					}
				}
				countBytes(t, m.sent("flood"), bytes)
			}
			for _, f := range flows {
				require.InDelta(t, bytes[flows[0].ID()], bytes[f.ID()], float64(4*m.MaxDatagram()), "%v", bytes)
			}
		})
	}
}

// countBytes adds what each session takes of a datagram, without what only fills it.
func countBytes(t *testing.T, d []byte, bytes map[uint64]int) {
	h, body, err := ParseHeader(d)
	require.NoError(t, err)
	switch h.Kind {
	case KindMessage:
		m, _ := ParseMessage(body)
		bytes[m.Session] += len(body)
	case KindFragment:
		f, _ := ParseFragment(body)
		bytes[f.Session] += len(body)
	case KindBundle:
		for len(body) > 0 {
			var m Message
			m, body, _ = NextBundleItem(body)
			bytes[m.Session] += len(AppendBundleItem(nil, m))
		}
	}
}

// Turns that a flow does not use up are not saved for later.
func TestTurnsAreNotSaved(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	saver, other := m.open(0, FlowConfig{}), m.open(2, FlowConfig{})
	for range 100 {
		m.push(saver, "x", SendOptions{})
		m.sent("little")
		m.wantNothing("its turn is over")
	}
	for range 50 {
		m.push(saver, strings.Repeat("x", 1000), SendOptions{})
		m.push(other, strings.Repeat("x", 1000), SendOptions{})
	}
	bytes := map[uint64]int{}
	for range 40 {
		countBytes(t, m.sent("much"), bytes)
	}
	require.InDelta(t, bytes[0], bytes[2], 2000, "%v", bytes)
}

// A flow with a message now and then waits for no more than one turn of each of the others.
func TestFloodDelaysOthersByATurn(t *testing.T) {
	m := newTestMux(t, MuxConfig{})
	var flood []*Flow
	for i := range 5 {
		f := m.open(uint64(2*i+2), FlowConfig{SendMessages: 1 << 20, SendBytes: 1 << 30})
		flood = append(flood, f)
		for range 500 {
			m.push(f, strings.Repeat("x", 700), SendOptions{})
		}
	}
	quiet := m.open(0, FlowConfig{})
	for range 100 {
		m.push(quiet, "ping", SendOptions{})
		datagrams := 0
		for quiet.Counts().Queued > 0 {
			m.sent("flood")
			datagrams++
		}
		require.LessOrEqual(t, datagrams, 2*len(flood)+1)
	}
}

// Refused datagrams must not change whose turn it is, nor give anybody more than its share.
func TestFairTurnsWithRefusals(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	m := newTestMux(t, MuxConfig{})
	flows := []*Flow{m.open(0, FlowConfig{}), m.open(2, FlowConfig{}), m.open(4, FlowConfig{})}
	sizes := []int{900, 40, 3000}
	bytes := map[uint64]int{}
	for range 800 {
		for i, f := range flows {
			for f.Counts().QueuedBytes < 4000 {
				m.push(f, strings.Repeat("x", sizes[i]), SendOptions{})
			}
		}
		d := m.next("flood")
		if r.IntN(3) == 0 {
			m.Refused(0)
			continue
		}
		countBytes(t, d, bytes)
		m.Sent()
	}
	for _, f := range flows {
		require.InEpsilon(t, bytes[0], bytes[f.ID()], 0.05, "%v", bytes)
	}
}

func TestCircle(t *testing.T) {
	m := newTestMux(t, MuxConfig{MaxDatagram: 8}) // one message each
	var flows []*Flow
	for i := range 4 {
		f := m.open(uint64(2*i), FlowConfig{})
		flows = append(flows, f)
		m.push(f, "one", SendOptions{})
		m.push(f, "two", SendOptions{})
	}
	m.want("0 message 0:one", "in the order in which they came")
	m.want("1 message 2:one", "next")
	m.Remove(4)
	m.want("2 message 6:one", "4 has left")
	require.Equal(t, "3 message 0:two", describe(m.next("around")))
	m.Refused(0)
	m.want("3 message 0:two", "its turn is not over")
	m.Remove(2)
	m.want("4 message 6:two", "2 has left")
	m.wantNothing("all sent")
	require.Nil(t, m.send.ring)
	m.push(flows[0], "three", SendOptions{})
	m.want("5 message 0:three", "back again")
}

func TestSendQueueAgainstModel(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 3))
		var q sendQueue
		var s sender
		s.clock(epoch)
		var model []item // by falling priority, in order
		check := func() {
			require.Equal(t, len(model), q.messages)
			bytes, expiring := 0, 0
			for i := range model {
				bytes += model[i].n
				if model[i].expires != 0 {
					expiring++
				}
			}
			require.Equal(t, bytes, q.bytes)
			require.Equal(t, expiring, q.expiring)
			if len(model) == 0 {
				require.Nil(t, q.front())
			} else {
				require.Equal(t, model[0], *q.front())
				require.Equal(t, model[len(model)-1].priority, q.lowest())
			}
		}
		for range 300 {
			it := item{priority: r.IntN(4) - 2}
			s.hold(&it, make([]byte, r.IntN(100)))
			if r.IntN(3) == 0 {
				it.expires = s.clock(epoch) + 1
			}
			switch r.IntN(9) {
			case 0, 1, 2, 3:
				i := 0
				for i < len(model) && model[i].priority >= it.priority {
					i++
				}
				model = append(model[:i], append([]item{it}, model[i:]...)...)
				q.pushBack(it)
			case 4:
				i := 0
				for i < len(model) && model[i].priority > it.priority {
					i++
				}
				model = append(model[:i], append([]item{it}, model[i:]...)...)
				q.pushFront(it)
			case 5, 6:
				if len(model) > 0 {
					require.Equal(t, model[0], q.popFront())
					model = model[1:]
				}
			case 7:
				if len(model) > 0 {
					i := 0
					for model[i].priority != q.lowest() {
						i++
					}
					require.Equal(t, model[i], q.popOldest())
					model = append(model[:i:i], model[i+1:]...)
				}
			case 8:
				if r.IntN(5) == 0 {
					var kept []item
					for _, it := range model {
						if it.expires == 0 {
							kept = append(kept, it)
						}
					}
					require.Equal(t, len(model)-len(kept), s.removeExpired(&q, epoch.Add(grace)))
					model = kept
				}
			}
			check()
		}
		require.Equal(t, len(model), s.clear(&q))
		model = nil
		check()
		q.trim()
		check()
	}
}

// Every message reads back as it was held, whatever else is held and freed
// around it, and what was held first is not overwritten by what comes later.
func TestSlabs(t *testing.T) {
	var s sender
	r := rand.New(rand.NewPCG(1, 5))
	type held struct {
		item
		want []byte
	}
	var all []held
	for range 3000 {
		if len(all) > 0 && r.IntN(5) < 2 {
			i := r.IntN(len(all))
			require.Equal(t, all[i].want, all[i].payload())
			s.free(&all[i].item)
			all = append(all[:i], all[i+1:]...)
			continue
		}
		sizes := []int{0, 1, 64, 1023, 1024, 1025, 1400, 4096, 65536, 65537}
		h := held{want: make([]byte, sizes[r.IntN(len(sizes))])}
		for i := range h.want {
			h.want[i] = byte(r.Uint32())
		}
		if len(h.want) == 0 {
			h.want = nil
		}
		s.hold(&h.item, h.want)
		all = append(all, h)
	}
	for i := range all {
		require.Equal(t, all[i].want, all[i].payload())
		s.free(&all[i].item)
	}
	require.Nil(t, s.shared, "nothing is held, and nothing kept")
}
