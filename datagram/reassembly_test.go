package datagram

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fragments passes fragments of session 0 to a client's Mux.
type fragments struct {
	*testMux
	f      *Flow
	number uint64
}

func newFragments(t *testing.T, c MuxConfig) *fragments {
	c.Client = true
	m := newTestMux(t, c)
	return &fragments{testMux: m, f: m.open(0, FlowConfig{})}
}

func (f *fragments) add(id uint64, total, offset int, payload, why string) {
	f.t.Helper()
	f.handle(fragment(f.number, 0, id, total, offset, payload), why)
	f.number++
}

func (f *fragments) wantDrops(why string, want map[Reason]uint64) {
	f.t.Helper()
	wantDrops(f.t, f.f.Counts().ReceiveDrops, why, want)
}

func TestReassembly(t *testing.T) {
	f := newFragments(t, MuxConfig{})
	f.add(0, 10, 0, "0123", "in order")
	f.add(0, 10, 4, "4567", "in order")
	wantPops(t, f.f, "not complete")
	f.add(0, 10, 8, "89", "in order")
	wantPops(t, f.f, "complete", "0123456789")
	f.add(1, 10, 8, "89", "out of order")
	f.add(2, 3, 0, "abc", "whole message in a fragment")
	f.add(1, 10, 0, "01", "out of order")
	f.add(1, 10, 4, "4567", "out of order")
	f.add(1, 10, 2, "23", "out of order")
	wantPops(t, f.f, "in the order they became complete", "abc", "0123456789")
	f.add(1, 10, 2, "23", "complete already")
	f.add(2, 3, 0, "abc", "complete already")
	f.wantDrops("never twice", map[Reason]uint64{ReasonStaleFragment: 2})
	require.Equal(t, uint64(3), f.f.Counts().Received)
	require.Empty(t, f.recv.assembling)
}

func TestReassemblyOverlaps(t *testing.T) {
	f := newFragments(t, MuxConfig{})
	f.add(0, 10, 0, "0123", "")
	f.add(0, 10, 2, "2345", "overlaps at the front")
	f.add(0, 10, 8, "8", "apart")
	f.add(0, 10, 3, "3", "inside")
	f.add(0, 10, 5, "56789", "overlaps several")
	wantPops(t, f.f, "identical overlaps are fine", "0123456789")

	f.add(1, 10, 0, "0123", "")
	f.add(1, 10, 2, "2x45", "contradicts")
	f.add(1, 10, 0, "0123456789", "given up already")
	f.add(2, 10, 0, "0123", "")
	f.add(2, 11, 4, "4567", "another total")
	f.add(2, 10, 4, "456789", "given up already")
	wantPops(t, f.f, "contradictions drop the message")
	f.wantDrops("by reason", map[Reason]uint64{ReasonContradiction: 2, ReasonStaleFragment: 2})
	require.Zero(t, f.f.recv.reassembly.bytes)
}

func TestReassemblyTime(t *testing.T) {
	f := newFragments(t, MuxConfig{})
	f.add(0, 4, 0, "12", "")
	f.pass(reassemblyTime / 2)
	f.add(1, 4, 0, "ab", "")
	f.pass(reassemblyTime/2 - 1)
	f.add(2, 4, 0, "AB", "")
	f.pass(1)
	f.add(0, 4, 2, "34", "a second after the first fragment")
	f.add(1, 4, 2, "cd", "in time")
	wantPops(t, f.f, "the second in time", "abcd")
	f.pass(time.Hour)
	f.Tick(f.now)
	f.wantDrops("by reason", map[Reason]uint64{ReasonReassemblyTimeout: 2, ReasonStaleFragment: 1})
	require.Empty(t, f.recv.assembling)
	require.Zero(t, f.f.recv.reassembly.bytes)

	f = newFragments(t, MuxConfig{})
	f.add(0, 4, 0, "12", "the only one")
	f.pass(reassemblyTime)
	f.Tick(f.now)
	f.wantDrops("Tick expires", map[Reason]uint64{ReasonReassemblyTimeout: 1})
}

// Messages that were early keep the time of their first fragment.
func TestReassemblyTimeCountsFromArrival(t *testing.T) {
	m := newTestMux(t, MuxConfig{Client: true})
	m.handle(fragment(0, 1, 0, 4, 0, "12"), "early")
	m.pass(600 * time.Millisecond)
	f := m.open(1, FlowConfig{})
	m.pass(400 * time.Millisecond)
	m.handle(fragment(1, 1, 0, 4, 2, "34"), "a second after the first fragment")
	wantDrops(t, f.Counts().ReceiveDrops, "by reason", map[Reason]uint64{ReasonReassemblyTimeout: 1, ReasonStaleFragment: 1})
}

func TestReassemblyBounds(t *testing.T) {
	f := newFragments(t, MuxConfig{})
	for id := range uint64(reassemblyMessages + 2) {
		f.add(id, 4, 0, "12", "first half")
	}
	for id := range uint64(reassemblyMessages + 2) {
		f.add(id, 4, 2, fmt.Sprintf("%02d", id), "second half")
	}
	wantPops(t, f.f, "the oldest two gave way", "1202", "1203", "1204", "1205", "1206", "1207", "1208", "1209")
	f.wantDrops("by reason", map[Reason]uint64{ReasonReassemblyFull: 2, ReasonStaleFragment: 2})

	for id := uint64(100); id < 106; id++ {
		f.add(id, 64<<10, 0, "x", "64 KiB each")
		require.LessOrEqual(t, f.f.recv.reassembly.bytes, reassemblyBytes, "256 KiB")
	}
	require.Len(t, f.f.recv.reassembly.incomplete, 4)
}

func TestReassemblyLargestMessage(t *testing.T) {
	f := newFragments(t, MuxConfig{MaxMessage: 1000})
	f.add(0, 1000, 0, "x", "the largest")
	e := f.Handle(f.now, fragment(f.number, 0, 1, 1001, 0, "x"))
	require.Equal(t, EventViolation, e.Kind)
	require.EqualError(t, e.Err, "datagram: malformed datagram of session 0: message of 1001 bytes, the limit is 1000")
	f.handle(fragment(f.number+1, 1, 1, 1001, 0, "x"), "of no live session: dropped")
	f.handle(fragment(f.number+2, 1, 1, 1<<40, 0, "x"), "of no live session: dropped")
	wantDrops(t, f.Mux.Counts().DatagramDrops, "by reason", map[Reason]uint64{ReasonMalformed: 3})

	// Above the usual bound of a session, one message must still be possible.
	f = newFragments(t, MuxConfig{MaxMessage: 1 << 20})
	half := strings.Repeat("x", 1<<19)
	f.add(0, 1<<20, 0, half, "first half")
	f.add(0, 1<<20, 1<<19, half, "second half")
	wantPops(t, f.f, "1 MiB", half+half)
}

func TestReassemblyPieces(t *testing.T) {
	f := newFragments(t, MuxConfig{})
	for i := range reassemblySpans + 1 {
		f.add(0, 64<<10, 2*i, "x", "a piece of its own")
	}
	f.wantDrops("too many pieces", map[Reason]uint64{ReasonReassemblyFull: 1})
}

func TestReassemblyIDWindow(t *testing.T) {
	f := newFragments(t, MuxConfig{})
	f.add(1000, 1, 0, "a", "ids may begin anywhere")
	f.add(1001-finishedWindow, 1, 0, "b", "the oldest that can be told")
	f.add(1000-finishedWindow, 1, 0, "c", "too old to tell")
	f.add(MaxNumber, 1, 0, "d", "the largest id")
	wantPops(t, f.f, "", "a", "b", "d")
	f.wantDrops("by reason", map[Reason]uint64{ReasonStaleFragment: 1})
}

// Random pieces in random order, with overlaps: the message comes out once, intact, and as soon as all bytes are there.
func TestReassemblyRandom(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		f := newFragments(t, MuxConfig{})
		total := 2 + r.IntN(300)
		var message strings.Builder
		for range total {
			message.WriteByte(byte(r.Uint32()))
		}
		covered := make([]bool, total)
		missing := total
		for missing > 0 {
			from := r.IntN(total)
			to := from + 1 + r.IntN(min(40, total-from))
			for i := from; i < to; i++ {
				if !covered[i] {
					covered[i] = true
					missing--
				}
			}
			wantPops(t, f.f, "not complete")
			f.add(0, total, from, message.String()[from:to], "piece")
			if missing > 0 {
				p := f.f.recv.reassembly.incomplete[0]
				require.Equal(t, total-missing, p.got)
				for i := 1; i < len(p.have); i++ {
					require.Less(t, p.have[i-1].to, p.have[i].from, "disjoint and in order")
				}
			}
		}
		wantPops(t, f.f, "complete", message.String())
	}
}

// Memory follows the bytes that arrive: a few bytes that announce a long message
// cost no more than the page that they are in.
func TestReassemblyTakesMemoryOnlyForWhatArrives(t *testing.T) {
	f := newFragments(t, MuxConfig{})
	took := allocated(func() {
		for id := range uint64(1000) {
			f.add(id, 64<<10, 64<<10-1, "x", "")
		}
	})
	require.Less(t, took, uint64(1000*(reassemblyPage+2048)))
	require.Len(t, f.f.recv.reassembly.incomplete, reassemblyBytes/(64<<10), "what they announce counts all the same")
}

func TestReassemblyAcrossPages(t *testing.T) {
	var text strings.Builder
	for i := range 20_000 {
		text.WriteString(fmt.Sprint(i, " "))
	}
	for _, size := range []int{reassemblyPage - 1, reassemblyPage, reassemblyPage + 1, 3*reassemblyPage + 5, 64 << 10} {
		const piece = 1000
		want := text.String()[:size]
		f := newFragments(t, MuxConfig{})
		for from := (size - 1) / piece * piece; from > 0; from -= piece {
			f.add(0, size, from-7, want[from-7:min(from+piece, size)], "backwards, overlapping")
		}
		f.add(0, size, 0, want[:piece], "the last one")
		wantPops(t, f.f, "whole", want)
		f.add(1, size, 0, want[:size-1], "nearly")
		bad := strings.Repeat("\x00", 2)
		f.add(1, size, size-2, bad, "contradicts in the last page")
		f.wantDrops("that one only", map[Reason]uint64{ReasonContradiction: 1})
		f.add(2, size, 0, want[:10], "a little")
		f.add(2, size, 8, bad, "contradicts in the first page")
		f.wantDrops("that one, too", map[Reason]uint64{ReasonContradiction: 2})
		if size < 4*reassemblyPage {
			continue // it would be in one piece already
		}
		f.add(3, size, 10, want[10:reassemblyPage+10], "in two pages")
		f.add(3, size, 0, want[:reassemblyPage+10], "the same, and more")
		f.add(3, size, 20, want[20:reassemblyPage+8]+bad, "contradicts in the second")
		f.wantDrops("the third", map[Reason]uint64{ReasonContradiction: 3})
	}
}
