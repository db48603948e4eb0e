package integration_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// A hostile client: after a real handshake with an endpoint it sends what the
// program says on streams and in datagrams, in any order. See besiege for what
// must hold whatever it does.
func FuzzLinkServer(f *testing.F) {
	addPrograms(f, false)
	f.Fuzz(func(t *testing.T, p []byte) { besiege(t, p, false) })
}

// A hostile server: the same, but the endpoint dials it.
func FuzzLinkClient(f *testing.F) {
	addPrograms(f, true)
	f.Fuzz(func(t *testing.T, p []byte) { besiege(t, p, true) })
}

// Programs get through to the application. If they did not, the two targets would
// find nothing wrong.
func TestProgramsReachTheApplication(t *testing.T) {
	for what, c := range map[string]struct {
		dialed bool
		begin  program
	}{
		"client": {false, program{0, opBidi, opFrame | opArrive, 0, byte(session.TypeOpen), 0, opApp | opArrive, appAccept, 0}},
		"server": {true, program{0, opFrame | opArrive, 0, byte(session.TypeAccept), 0}},
	} {
		app := besiege(t, slices.Concat(c.begin, program{
			opFrame | opArrive, 0, byte(session.TypeSignal), 2, 'h', 'i',
			opDatagram | opArrive, byte(datagram.KindMessage), 0, 3, 'y', 'o', 'u',
		}), c.dialed)
		require.Len(t, app.sessions, 1, what)
		require.Equal(t, [][]byte{[]byte("hi")}, app.sessions[0].signals, what)
		require.Equal(t, [][]byte{[]byte("you")}, app.sessions[0].messages, what)
	}
}

// siege is an endpoint between a hostile peer and an honest one.
type siege struct {
	n       *network
	app     *application
	hostile *hostile
	honest  *honestPair
	dialed  bool // the endpoint dials the hostile peer
	dials   int  // how often the hostile peer has dialed
}

// Manners, in the first byte of a program.
const (
	manRude   byte = 1 << iota // begins no link stream
	manSilent                  // answers no heartbeats
	manDeaf                    // reads no streams
	manVanish                  // ends without a word
)

// siegeMemory bounds what is allocated for one program, freed or not, by all three
// peers, handshakes included: three times what a program that sends little takes,
// and twice what each datagram, and more than what each byte, costs on its way.
const (
	siegeMemory      = 16 << 20
	memoryOfDatagram = 8 << 10
	memoryOfByte     = 32
)

// siegeEnd is how long it may take, at most, until nothing is left of a peer that
// is gone: it is found dead by heartbeats, and a dial ends with its context.
const siegeEnd = 30 * time.Second

// fuzzIdentities are those of the endpoint and the honest peer: making them anew
// would take a tenth of the time.
var fuzzIdentities = sync.OnceValue(func() (all [2]*certs.Identity) {
	for i := range all {
		all[i], _ = certs.Generate()
	}
	return all
})

// besiege runs one program, and checks that
//
//   - nothing panics, and nothing waits for ever;
//   - a session with an honest peer goes on, loses nothing, and its close is
//     confirmed with exact counts;
//   - the application gets nothing that was not sent as a valid message or
//     signal of a session that it has, and each of its calls returns, with a
//     typed error;
//   - once the hostile peer is gone, no link, session or goroutine of it is left;
//   - memory follows what was sent, not what was announced.
//
// It returns the application, with what has come of it.
func besiege(t *testing.T, p program, dialed bool) (app *application) {
	bubble(t, 1, func(t *testing.T, n *network) {
		allocated := allocatedBytes()
		b := n.peer(t, "10.0.0.1:1000", quicpeer.Config{Identity: fuzzIdentities()[0]})
		s := &siege{n: n, dialed: dialed, dials: 1, app: &application{t: t, peer: b}, honest: &honestPair{t: t}}
		s.honest.a, s.honest.b = n.peer(t, "10.0.0.2:1000", quicpeer.Config{Identity: fuzzIdentities()[1]}).open(b)
		s.honest.exchange()
		man := p.next()
		s.hostile = newHostile(t, n, "10.0.0.3:1000", b, manners{
			rude: man&manRude != 0, silent: man&manSilent != 0, deaf: man&manDeaf != 0,
		})
		n.between(s.hostile.host.addr, b.addr, faults{delay: time.Millisecond})
		// The runtime's count may be too low for a moment, while those that have ended
		// go from one of its lists to another.
		goroutines := 0
		for range 3 {
			n.pass(time.Millisecond)
			goroutines = max(goroutines, runtime.NumGoroutine())
		}

		if dialed {
			s.app.dial(s.hostile)
		} else {
			s.hostile.dial()
		}
		n.pass(10 * time.Millisecond)
		s.run(p)
		s.honest.exchange()

		if man&manVanish != 0 {
			n.remove(s.hostile.host.addr)
		}
		s.hostile.end(session.CodeNormal, "")
		began := time.Now()
		s.app.calls.Wait()
		require.LessOrEqual(t, time.Since(began), siegeEnd, "the application waits for a peer that is gone")
		// A handshake that has just begun is no link yet.
		left := func() int { return runtime.NumGoroutine() - goroutines }
		gone := time.Now()
		for n.pass(time.Second); (len(b.Links()) > 1 || left() > 0) && time.Since(gone) < siegeEnd; {
			n.pass(time.Second)
		}
		s.app.wantOver(s.hostile)
		require.Nil(t, s.app.incoming(), "its link is gone")
		b.wantLinks("the honest peer's", 1)
		if left() > 0 {
			require.Fail(t, "goroutines are left", "%d of\n%s", left(), stacks())
		}
		s.honest.close()
		require.Less(t, allocatedBytes()-allocated, siegeMemory+memoryOfDatagram*s.hostile.sent+memoryOfByte*s.hostile.bytes)
		app = s.app
	})
	return app
}

// allocatedBytes is how much this process has ever allocated.
func allocatedBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// honestPair is a session between two peers that keep to the protocol, on a
// path that loses nothing.
type honestPair struct {
	t    *testing.T
	a, b *quicpeer.Session
	sent uint64 // messages each way
}

// exchange sends a message each way, and waits for both.
func (h *honestPair) exchange() {
	h.t.Helper()
	h.sent++
	for _, way := range [][2]*quicpeer.Session{{h.a, h.b}, {h.b, h.a}} {
		m := numbered(int(h.sent))
		require.NoError(h.t, way[0].Send(h.t.Context(), m))
		got, err := way[1].Receive(h.t.Context())
		require.NoError(h.t, err)
		require.Equal(h.t, m, got)
	}
}

// close closes the session, and compares the counts.
func (h *honestPair) close() {
	h.t.Helper()
	require.NoError(h.t, h.b.CloseWithError(h.t.Context(), session.FirstApplicationCode, "done"))
	for _, s := range []*quicpeer.Session{h.a, h.b} {
		wantOver(h.t, "closed", s, time.Second)
		c := s.Stats()
		require.True(h.t, c.Complete)
		require.Equal(h.t, h.sent, c.Local.Sent)
		require.Equal(h.t, h.sent, c.Local.Received)
		require.Equal(h.t, session.Tally{Sent: h.sent, End: c.Remote.End, Received: h.sent}, c.Remote)
	}
}

// addPrograms seeds a target with the test vectors of both codecs, and with
// some lives of sessions.
func addPrograms(f *testing.F, dialed bool) {
	add := func(man byte, ops ...[]byte) { f.Add(append([]byte{man}, slices.Concat(ops...)...)) }
	frame := func(stream byte, t session.FrameType, fields ...byte) []byte {
		return append([]byte{opFrame | opArrive, stream, byte(t)}, fields...)
	}
	open := slices.Concat([]byte{opBidi}, frame(0, session.TypeOpen, 0), []byte{opApp | opArrive, appAccept, 0})
	first, id := open, byte(0)
	if dialed {
		first = frame(0, session.TypeAccept, 0) // the endpoint has opened it
		open, id = slices.Concat([]byte{opDial | opArrive}, first), 2
	}
	const link = 0x80 // our link stream

	var frames, datagrams [][]byte
	for _, wire := range vectorWires(f, "../session/testdata/frames.txt") {
		// Most break the stream, and are the last on it.
		frames = append(frames, slices.Concat([]byte{opBidi, opWrite | opArrive, 0, byte(len(wire))}, wire))
		frames = append(frames, slices.Concat(open, []byte{opWrite | opArrive, 0, byte(len(wire))}, wire))
	}
	for _, wire := range vectorWires(f, "../datagram/testdata/vectors.txt") {
		datagrams = append(datagrams, slices.Concat([]byte{opRaw, byte(len(wire))}, wire))
	}
	for some := range slices.Chunk(frames, 24) {
		add(0, some...)
	}
	for some := range slices.Chunk(datagrams, 30) {
		add(0, first, slices.Concat(some...), []byte{opArrive | opHonest})
		add(manVanish, slices.Concat(some...), first)
	}
	signal := frame(0, session.TypeSignal, 2, 'h', 'i')
	message := []byte{opDatagram | opArrive, byte(datagram.KindMessage), id, 2, 'h', 'i'}
	bye := frame(0, session.TypeClose, 0, 0, 1, 4, 0, 0)
	fin := []byte{opFinish | opArrive, 0}
	add(0, open, signal, message, bye, frame(0, session.TypeDone, 0, 0, 0), fin)
	add(0, open, signal, []byte{opApp | opArrive, appClose, 0, 0}, frame(0, session.TypeCloseAck, 0, 0, 0, 0, 0, 0, 0), fin)
	add(0, open, []byte{opReset | opArrive, 0, 7}, open, []byte{opStop | opArrive, 0, 7, opStop | opArrive, 0xc0, 7})
	add(0, open, message, []byte{opClose | opArrive, 0, 0}, open, message, []byte{opClose, 9, 3, 'b', 'y', 'e'})
	add(manSilent|manVanish, open, []byte{opWait, 255, opApp | opArrive, appSend, 0, 255})
	add(manDeaf, open, []byte{opApp, appSignal, 0, 255, opApp, appSignal, 0, 255, opApp, appSend, 0, 255, opApp | opArrive, appClose, 0, 1, opWait, 60})
	add(manRude, []byte{opUni, opWrite, 0, 3, 0x21, 1, 2, opUni, opWrite | opArrive, 0, 3, 0, 0, 0, opFinish | opArrive, 0})
	add(0, frame(link, session.TypeGoAway, 5, 0, 0, 0), []byte{opDial | opArrive, opWait, 30})
	add(0, []byte{opDial | opArrive}, frame(0, session.TypeAccept, 0), []byte{opApp | opArrive, appSignal, 0, 1, opApp | opArrive, appPing, 0})
	add(0, frame(link, session.TypePing, 1), frame(link, session.TypePong, 1), frame(link, session.TypeSettings, 1, 1, 1, 1, 1))
	add(0, open, []byte{opFlood | opArrive, 255, id, 200, opFlood | opArrive, 255, 8, 200, opHonest})
	add(0, open, []byte{opZeros | opArrive, 0, 255, opZeros | opArrive, link, 255})
}

// vectorWires returns the wire bytes in a file of test vectors, but for the longest.
func vectorWires(f *testing.F, file string) (wires [][]byte) {
	f.Helper()
	data, err := os.ReadFile(file)
	require.NoError(f, err)
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "wire: "); ok && text != "-" {
			wire, err := hex.DecodeString(text)
			require.NoError(f, err, line)
			if len(wire) < 256 { // what a program says in one operation
				wires = append(wires, wire)
			}
		}
	}
	require.NotEmpty(f, wires, "%s has no vectors", file)
	return wires
}

func equalAll(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }
