package session

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFrameWriterWritesAtOnce(t *testing.T) {
	mine, theirs := newTestStreams()
	w := frameWriter{stream: mine}
	w.write(Accept{})
	w.write(Signal{Payload: []byte("x")})
	w.close()
	w.close()
	w.write(Signal{})
	theirs.want(t, Accept{}, "no goroutine in between")
	theirs.want(t, Signal{Payload: []byte("x")}, "in order")
	theirs.wantEnd(t, io.EOF, "nothing after FIN")
}

func TestFrameWriterWithoutCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine, theirs := newTestStreams()
		w := frameWriter{stream: mine}
		mine.limit(10)
		for i := range 10 {
			w.write(Signal{Payload: fmt.Appendf(nil, "signal %d", i)})
		}
		w.write(Close{Reason: "bye"})
		w.close()
		synctest.Wait()
		require.True(t, w.writing, "it waits, the caller does not")
		for i := range 10 {
			mine.limit(5 + i)
			time.Sleep(time.Millisecond)
		}
		mine.limit(1000)
		for i := range 10 {
			theirs.want(t, Signal{Payload: fmt.Appendf(nil, "signal %d", i)}, "in order")
		}
		theirs.want(t, Close{Reason: "bye"}, "in order")
		theirs.wantEnd(t, io.EOF, "FIN at the end")
		synctest.Wait()
		require.False(t, w.writing, "the goroutine has gone")
	})
}

// A peer that sends signals but grants no credit for their acknowledgements
// must not fill the memory.
func TestFrameWriterHoldsOneOfEachCumulativeFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine, theirs := newTestStreams()
		w := frameWriter{stream: mine}
		mine.limit(0)
		w.write(SignalAck{Taken: 1})
		synctest.Wait() // the goroutine has this one
		for i := range uint64(1000) {
			w.write(SignalAck{Taken: 2 + i})
			w.write(Report{Received: i})
		}
		w.write(Close{})
		require.Len(t, w.held, 3)
		mine.limit(1000)
		theirs.want(t, SignalAck{Taken: 1}, "")
		theirs.want(t, SignalAck{Taken: 1001}, "the newest count, before what came later")
		theirs.want(t, Report{Received: 999}, "")
		theirs.want(t, Close{}, "")
	})
}

func TestFrameWriterReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine, theirs := newTestStreams()
		w := frameWriter{stream: mine}
		mine.limit(0)
		w.write(Signal{})
		w.write(Signal{})
		w.close()
		synctest.Wait()
		w.reset(0x123)
		w.write(Signal{})
		w.close()
		synctest.Wait()
		require.False(t, w.writing)
		require.Empty(t, w.held)
		theirs.wantEnd(t, &ResetError{Code: 0x123}, "what was held is gone")
	})
}

func TestFrameWriterOnADeadStream(t *testing.T) {
	mine, _ := newTestStreams()
	mine.lose()
	w := frameWriter{stream: mine}
	w.write(Signal{})
	require.True(t, w.dead)
	require.Empty(t, w.held)
}

func TestResetErrorNamesTheCode(t *testing.T) {
	require.EqualError(t, &ResetError{Code: CodeBusy}, "session: stream reset (busy)")
}
