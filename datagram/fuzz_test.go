package datagram

import (
	"bytes"
	"context"
	"encoding/hex"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// vectorWires returns the wire bytes of all test vectors, to begin with.
func vectorWires(f *testing.F) (wires [][]byte) {
	for _, v := range readVectors(f) {
		if wire, err := hex.DecodeString(v.get("wire")); err == nil {
			wires = append(wires, wire)
		}
	}
	return wires
}

// What is accepted, encodes to bytes that parse to the same; the encoding is then stable.
func FuzzCodec(f *testing.F) {
	for _, wire := range vectorWires(f) {
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		again, ok := reencode(wire)
		if !ok {
			require.Error(t, parseAny(wire))
			return
		}
		require.NoError(t, parseAny(wire))
		require.NoError(t, parseAny(again))
		require.LessOrEqual(t, len(again), max(len(wire), HeartbeatSize), "the shortest form")
		require.Equal(t, describe(wire), describe(again))
		third, ok := reencode(again)
		require.True(t, ok)
		require.Equal(t, again, third)
	})
}

// reencode parses a datagram and encodes what it found. Unknown kinds are taken as they are.
func reencode(wire []byte) ([]byte, bool) {
	h, body, err := ParseHeader(wire)
	if err != nil {
		return nil, false
	}
	switch h.Kind {
	case KindMessage:
		m, err := ParseMessage(body)
		if err != nil {
			return nil, false
		}
		return AppendMessage(nil, h.Number, m), true
	case KindBundle:
		b := AppendHeader(nil, h)
		for {
			m, rest, err := NextBundleItem(body)
			if err != nil {
				return nil, false
			}
			b = AppendBundleItem(b, m)
			if body = rest; len(body) == 0 {
				return b, true
			}
		}
	case KindFragment:
		f, err := ParseFragment(body)
		if err != nil {
			return nil, false
		}
		return AppendFragment(nil, h.Number, f), true
	case KindHeartbeat, KindHeartbeatEcho:
		token, err := ParseHeartbeat(body)
		if err != nil {
			return nil, false
		}
		return AppendHeartbeat(nil, h.Number, h.Kind == KindHeartbeatEcho, token), true
	case KindCredit:
		c, err := ParseCredit(body)
		if err != nil {
			return nil, false
		}
		return AppendCredit(nil, h.Number, c), true
	}
	return append(AppendHeader(nil, h), body...), true
}

// Whatever bytes come in, in whatever order sessions open and end: nothing panics, every datagram is accounted for
// once, and every message and fragment in an accepted datagram, too; what is held is bounded, and nothing is delivered
// that was not sent.
func FuzzHandle(f *testing.F) {
	var all []byte
	for _, wire := range vectorWires(f) {
		f.Add(append([]byte{byte(len(wire))}, wire...))
		if len(wire) < 200 {
			all = append(append(all, byte(len(wire))), wire...)
		}
	}
	f.Add(all)
	f.Add(earlyFlood(2 * earlyDatagrams))
	f.Fuzz(func(t *testing.T, script []byte) { handleScript(t, script) })
}

// earlyFlood is a script with so many messages for a session that is not open.
func earlyFlood(n int) (script []byte) {
	for number := range uint64(n) {
		wire := AppendMessage(nil, number, Message{Session: 1, Payload: make([]byte, 100)})
		script = append(append(script, byte(len(wire))), wire...)
	}
	return script
}

// handleScript passes the datagrams of a script to a Mux. A length byte of 200 or more is a command instead.
func handleScript(t *testing.T, script []byte) {
	m := newTestMux(t, MuxConfig{Client: true, MaxMessage: 1000})
	flows := map[uint64]*Flow{}
	var ever []*Flow
	var whole, pieces, datagrams uint64
	sent, cut := map[uint64]map[string]int{}, map[uint64]bool{} // payloads by session, and sessions with fragments
	note := func(m Message) {
		whole++
		if sent[m.Session] == nil {
			sent[m.Session] = map[string]int{}
		}
		sent[m.Session][string(m.Payload)]++
	}
	for len(script) > 0 {
		n := int(script[0])
		script = script[1:]
		if n >= 200 {
			id := uint64(n) % 8
			switch (n - 200) / 8 {
			case 0, 1:
				if flows[id] == nil {
					flows[id] = m.open(id, FlowConfig{ReceiveMessages: 3, ReceiveFull: ReceivePolicy(n / 8 % 2)})
					ever = append(ever, flows[id])
				}
			case 2:
				m.Remove(id)
				delete(flows, id)
			case 3:
				m.Announce(id)
			case 4:
				if flows[id] != nil {
					flows[id].CloseReceive(errClosed)
				}
			case 5:
				m.pass(400 * time.Millisecond)
			default:
				m.Tick(m.now)
			}
			continue
		}
		d := bytes.Clone(script[:min(n, len(script))])
		script = script[len(d):]
		accepted := m.Mux.Counts().Accepted
		e := m.Handle(m.now, d)
		datagrams++
		if e.Kind == EventViolation {
			require.NotNil(t, flows[e.Session], "a violation of a session that is not open")
			require.Error(t, e.Err)
		}
		if m.Mux.Counts().Accepted == accepted {
			continue
		}
		require.NoError(t, parseAny(d), "accepted")
		switch h, body, _ := ParseHeader(d); h.Kind {
		case KindMessage:
			m, _ := ParseMessage(body)
			note(m)
		case KindBundle:
			for len(body) > 0 {
				var m Message
				if m, body, _ = NextBundleItem(body); m.Session != paddingID {
					note(m)
				}
			}
		case KindFragment:
			f, _ := ParseFragment(body)
			cut[f.Session] = true
			pieces++
		}
		wantBounded(t, m, ever)
	}

	popped := map[*Flow]int{}
	for _, f := range ever {
		for p, ok := f.TryPop(); ok; p, ok = f.TryPop() {
			popped[f]++
			require.LessOrEqual(t, len(p), 1000)
			if !cut[f.ID()] {
				require.Positive(t, sent[f.ID()][string(p)], "session %d got %q, which was not sent, or twice", f.ID(), p)
				sent[f.ID()][string(p)]--
			}
		}
	}
	c := m.Mux.Counts()
	require.Equal(t, datagrams, c.Received)
	require.Equal(t, c.Received, c.Accepted+c.DatagramDrops.Total(), "each datagram once: %+v", c)
	require.LessOrEqual(t, c.Taken, c.End)
	require.Equal(t, len(flows), c.Flows)
	// Whole messages count once each; what fragments add is at most one for each fragment.
	sum := c.MessageDrops.Total() + uint64(c.EarlyHeld)
	for _, f := range ever {
		wantSums(t, f, popped[f])
		fc := f.Counts()
		require.Zero(t, fc.Unread)
		sum += fc.Received + fc.Late
	}
	require.GreaterOrEqual(t, sum, whole, "each message once: %+v", c)
	require.LessOrEqual(t, sum, whole+pieces, "each message once: %+v", c)
}

// wantBounded checks what a link holds of what has arrived.
func wantBounded(t *testing.T, m *testMux, flows []*Flow) {
	t.Helper()
	require.LessOrEqual(t, m.recv.early.bytes, earlyBytes)
	require.LessOrEqual(t, m.recv.early.entries.len(), earlyDatagrams)
	for _, f := range flows {
		require.LessOrEqual(t, f.Counts().Unread, 3)
		if r := f.recv.reassembly; r != nil {
			require.LessOrEqual(t, len(r.incomplete), reassemblyMessages)
			held := 0
			for _, p := range r.incomplete {
				held += p.total
				require.LessOrEqual(t, len(p.have), reassemblySpans)
			}
			require.Equal(t, held, r.bytes)
			require.LessOrEqual(t, held, reassemblyBytes)
		}
	}
}

// A random schedule of pushes, losses, repeats and reordering, with a path whose size changes: each message is delivered
// at most once, intact, to the session it was sent on, and all counts add up.
func FuzzSchedule(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, uint8(seed*37))
	}
	f.Fuzz(func(t *testing.T, seed uint64, shape uint8) { runSchedule(t, seed, shape) })
}

func TestLongSchedule(t *testing.T) {
	for seed := range uint64(128) {
		runSchedule(t, seed, uint8(seed))
	}
}

func runSchedule(t *testing.T, seed uint64, shape uint8) {
	s := &schedule{
		t: t, r: rand.New(rand.NewPCG(seed, uint64(shape))),
		a: newTestMux(t, MuxConfig{Client: true, MaxDatagram: 200}), b: newTestMux(t, MuxConfig{MaxDatagram: 200}),
		lossy: shape&1 != 0, reorders: shape&2 != 0, repeats: shape&4 != 0, refuses: shape&8 != 0,
		drops: shape&16 != 0, expires: shape&32 != 0,
	}
	s.run()
}

type schedule struct {
	t                                                 *testing.T
	r                                                 *rand.Rand
	a, b                                              *testMux
	lossy, reorders, repeats, refuses, drops, expires bool

	sending, receiving [4]*Flow
	pushed, popped     [4]map[uint64]int // by the number that each message begins with
	serial             uint64
	flight             [][]byte
	lost               bool
}

func (s *schedule) run() {
	for i := range s.sending {
		s.pushed[i], s.popped[i] = map[uint64]int{}, map[uint64]int{}
		id := uint64(2 * i)
		c := FlowConfig{SendMessages: 20, SendFull: SendFail}
		if s.drops {
			c.SendFull = SendDropOldest
			c.ReceiveMessages, c.ReceiveFull = 5, ReceivePolicy(i%2)
		}
		s.sending[i] = s.a.open(id, c)
		if i != 3 { // the last one is opened late
			s.receiving[i] = s.b.open(id, c)
		}
	}
	for step := range 400 {
		if step == 60 {
			s.receiving[3] = s.b.open(6, FlowConfig{})
		}
		switch s.r.IntN(6) {
		case 0, 1:
			s.push()
		case 2:
			s.hand()
		case 3, 4:
			s.arrive()
		case 5:
			s.pop(s.r.IntN(4))
		}
		d := time.Duration(s.r.IntN(3)) * time.Millisecond
		s.a.pass(d)
		s.b.pass(d)
	}
	for _, f := range s.sending {
		f.CloseSend(errClosed)
	}
	for s.hand() {
	}
	for len(s.flight) > 0 {
		s.arrive()
	}
	s.check()
}

// payload returns a message whose contents follow from its serial number.
func payload(serial uint64, size int) []byte {
	p := []byte{byte(serial >> 16), byte(serial >> 8), byte(serial)}
	for len(p) < size {
		p = append(p, byte(serial*31+uint64(len(p))))
	}
	return p
}

func (s *schedule) push() {
	i := s.r.IntN(4)
	s.serial++
	size := 3 + s.r.IntN(40)
	if s.r.IntN(4) == 0 {
		size = 3 + s.r.IntN(1500)
	}
	o := SendOptions{Priority: s.r.IntN(2)}
	if s.expires && s.r.IntN(3) == 0 {
		o.Expiry = time.Duration(1+s.r.IntN(20)) * time.Millisecond
	}
	switch err := s.sending[i].Push(context.Background(), s.a.now, payload(s.serial, size), o); err {
	case nil:
		s.pushed[i][s.serial] = size
	default:
		require.Equal(s.t, ErrQueueFull, err)
	}
}

// hand takes a datagram from the sender, and may refuse or lose it.
func (s *schedule) hand() bool {
	d, ok := s.a.Next(s.a.now, nil)
	if !ok {
		return false
	}
	require.LessOrEqual(s.t, len(d), s.a.MaxDatagram())
	if s.refuses && s.r.IntN(4) == 0 {
		s.a.Refused(60 + s.r.IntN(200))
		return true
	}
	s.a.Sent()
	copies := 1
	if s.lossy && s.r.IntN(5) == 0 {
		copies = 0
		s.lost = true
	} else if s.repeats && s.r.IntN(4) == 0 {
		copies = 3
	}
	for range copies {
		s.flight = append(s.flight, bytes.Clone(d))
	}
	return true
}

func (s *schedule) arrive() {
	if len(s.flight) == 0 {
		return
	}
	i := 0
	if s.reorders {
		i = s.r.IntN(len(s.flight))
	}
	d := s.flight[i]
	s.flight = append(s.flight[:i:i], s.flight[i+1:]...)
	s.b.handle(d, "never a violation")
}

func (s *schedule) pop(i int) {
	if s.receiving[i] == nil {
		return
	}
	for p, ok := s.receiving[i].TryPop(); ok; p, ok = s.receiving[i].TryPop() {
		require.GreaterOrEqual(s.t, len(p), 3)
		serial := uint64(p[0])<<16 | uint64(p[1])<<8 | uint64(p[2])
		size, known := s.pushed[i][serial]
		require.True(s.t, known, "message %d was not pushed on session %d", serial, 2*i)
		require.Equal(s.t, payload(serial, size), p, "message %d is intact", serial)
		s.popped[i][serial]++
		require.Equal(s.t, 1, s.popped[i][serial], "message %d once", serial)
	}
}

func (s *schedule) check() {
	for i := range s.sending {
		s.pop(i)
		out, in := s.sending[i].Counts(), s.receiving[i].Counts()
		wantSums(s.t, s.sending[i], 0)
		wantSums(s.t, s.receiving[i], len(s.popped[i]))
		wantClosed(s.t, s.sending[i].Drained(), true, "everything was handed over")
		require.Equal(s.t, uint64(len(s.pushed[i])), out.Pushed)
		require.Zero(s.t, out.Queued)
		require.Zero(s.t, out.QueuedBytes)
		require.LessOrEqual(s.t, in.Received, out.Sent)
		require.Zero(s.t, in.Late)
		if !s.drops && !s.expires {
			require.Equal(s.t, out.Pushed, out.Sent)
		}
		// Without loss, and in order, everything arrives; what came early may have been too much to keep.
		if !s.lost && !s.reorders && i != 3 {
			require.Equal(s.t, out.Sent, in.Received, "%+v", in)
		}
	}
	a, b := s.a.Mux.Counts(), s.b.Mux.Counts()
	require.Equal(s.t, b.Received, b.Accepted+b.DatagramDrops.Total())
	require.LessOrEqual(s.t, b.End, a.Sent)
	require.Equal(s.t, b.Taken, b.Accepted)
	require.Zero(s.t, b.DatagramDrops[ReasonMalformed])
	if !s.lossy {
		require.Equal(s.t, a.Sent, b.Taken)
	}
	for i, f := range s.sending {
		c := f.Counts()
		require.LessOrEqual(s.t, c.End, a.Sent)
		if s.receiving[i].Counts().Received == c.Sent {
			require.Zero(s.t, s.receiving[i].Settle(s.b.now, c.Sent, c.End, s.b.now, time.Second))
		}
	}
}
