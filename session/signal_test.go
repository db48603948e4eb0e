package session

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSignalReturnsWhenTaken(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		for i := range 3 {
			result := make(chan error, 1)
			payload := fmt.Appendf(nil, "signal %d", i)
			go func() { result <- p.a.Signal(background, payload) }()
			synctest.Wait()
			require.Empty(t, result, "it has arrived; it is not taken")
			got, err := p.b.ReceiveSignal(background)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("signal %d", i), string(got))
			require.NoError(t, <-result)
		}
		require.EqualValues(t, 3, p.a.Stats().SignalsSent)
		require.EqualValues(t, 3, p.a.Stats().SignalsTaken)
		require.EqualValues(t, 3, p.b.Stats().SignalsReceived)
	})
}

func TestSignalPayloads(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		err := p.a.Signal(background, make([]byte, DefaultMaxSignal+1))
		require.Equal(t, &MessageTooLargeError{Kind: "signal", Size: DefaultMaxSignal + 1, Max: DefaultMaxSignal}, err)
		require.EqualError(t, err, "session: signal of 16385 bytes is above the peer's limit of 16384")
		for _, n := range []int{0, DefaultMaxSignal} {
			payload := make([]byte, n)
			go func() { _ = p.a.Signal(background, payload) }()
			got, err := p.b.ReceiveSignal(background)
			require.NoError(t, err)
			require.Len(t, got, n)
		}
	})
}

// Signals wait for credit in the order of the calls, and a raised limit lets
// more of them go.
func TestSignalCredit(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		for i := range DefaultMaxSignals + 4 {
			go func() { _ = p.a.Signal(background, []byte{byte(i)}) }()
			synctest.Wait()
		}
		require.EqualValues(t, DefaultMaxSignals, p.a.Stats().SignalsSent)
		_, err := p.b.ReceiveSignal(background)
		require.NoError(t, err)
		synctest.Wait()
		require.EqualValues(t, DefaultMaxSignals+1, p.a.Stats().SignalsSent, "one was taken")
		p.b.mu.Lock()
		p.b.m.peerSignalLimit += 2
		p.b.mu.Unlock()
		p.client.set(func() { p.client.limits.MaxSignals += 2 })
		p.ra.LinkChanged()
		synctest.Wait()
		require.EqualValues(t, DefaultMaxSignals+3, p.a.Stats().SignalsSent, "the peer's settings have come")
	})
}

func TestSignalCancelled(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		ctx, cancel := context.WithTimeoutCause(background, time.Second, io.ErrNoProgress)
		defer cancel()
		err := p.a.Signal(ctx, []byte("delivered"))
		require.ErrorIs(t, err, ErrSignalUnknown)
		require.ErrorIs(t, err, io.ErrNoProgress)
		require.EqualError(t, err, ErrSignalUnknown.Error()+": "+io.ErrNoProgress.Error())
		for range DefaultMaxSignals - 1 {
			go func() { _ = p.a.Signal(background, nil) }()
		}
		synctest.Wait()
		ctx, cancel = context.WithTimeout(background, time.Second)
		defer cancel()
		err = p.a.Signal(ctx, []byte("no credit"))
		require.ErrorIs(t, err, ErrSignalNotSent)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		got, err := p.b.ReceiveSignal(background)
		require.NoError(t, err)
		require.Equal(t, "delivered", string(got), "giving up does not take it back")

		require.ErrorIs(t, p.b.Signal(ctx, nil), ErrSignalNotSent, "a ctx that is over before sends nothing")
		require.Zero(t, p.b.Stats().SignalsSent)

		_, err = p.a.ReceiveSignal(ctx)
		require.Equal(t, context.DeadlineExceeded, err)
		require.NoError(t, p.b.Err())
		go func() { _ = p.b.Signal(background, []byte("there")) }()
		synctest.Wait()
		got, err = p.a.ReceiveSignal(ctx)
		require.NoError(t, err, "a signal that is there beats ctx")
		require.Equal(t, "there", string(got))
	})
}

// Rule 15: what the senders of signals learn at the close.
func TestRule15OutcomesAtTheClose(t *testing.T) {
	begin := func(p *pair) (results []chan error) {
		for i := range DefaultMaxSignals + 1 {
			result := make(chan error, 1)
			results = append(results, result)
			go func() { result <- p.a.Signal(background, []byte{byte(i)}) }()
			synctest.Wait()
		}
		return results
	}
	want := func(t *testing.T, p *pair, results []chan error, outcomes ...error) {
		t.Helper()
		for i, want := range outcomes {
			err := <-results[i]
			require.ErrorIs(t, err, want, "signal %d", i)
			var e *Error
			require.ErrorAs(t, err, &e, "with the session's cause")
			require.ErrorIs(t, p.a.Err(), e)
		}
	}
	ends := map[string]struct {
		end    func(*pair)
		second error
	}{
		"closed here":  {func(p *pair) { require.NoError(p.t, p.a.Close(background)) }, ErrSignalNotTaken},
		"closed there": {func(p *pair) { require.NoError(p.t, p.b.Close(background)) }, ErrSignalNotTaken},
		"link lost":    {func(p *pair) { p.client.fail(Error{Cause: CauseLinkLost}) }, ErrSignalUnknown},
		"aborted":      {func(p *pair) { require.NoError(p.t, p.b.Abort(0)) }, ErrSignalUnknown},
	}
	for name, c := range ends {
		t.Run(name, func(t *testing.T) {
			testPair(t, nil, func(t *testing.T, p *pair) {
				results := begin(p)
				_, err := p.b.ReceiveSignal(background)
				require.NoError(t, err)
				require.NoError(t, <-results[0], "taken")
				synctest.Wait() // its credit lets the last one go
				c.end(p)
				want(t, p, results[1:], c.second, c.second)
				require.ErrorIs(t, <-results[len(results)-1], c.second)
			})
		})
	}
	t.Run("without credit", func(t *testing.T) {
		testPair(t, nil, func(t *testing.T, p *pair) {
			results := begin(p)
			require.NoError(t, p.a.Close(background))
			err := <-results[len(results)-1]
			require.ErrorIs(t, err, ErrSignalNotSent)
			require.ErrorIs(t, err, &Error{Cause: CauseClosed})
		})
	})
	t.Run("crossing the peer's close", func(t *testing.T) {
		testPair(t, nil, func(t *testing.T, p *pair) {
			p.aStream.slow(50 * time.Millisecond)
			p.bStream.slow(50 * time.Millisecond)
			result := make(chan error, 1)
			go func() { _ = p.b.Close(background) }()
			synctest.Wait()
			go func() { result <- p.a.Signal(background, []byte("crossed")) }()
			require.ErrorIs(t, <-result, ErrSignalUnknown, "CLOSE did not count it")
			got, err := p.b.ReceiveSignal(background)
			require.NoError(t, err)
			require.Equal(t, "crossed", string(got), "it arrived all the same")
			_, err = p.b.ReceiveSignal(background)
			require.ErrorIs(t, err, &Error{Cause: CauseClosed})
		})
	})
}

// Signals that arrived are readable after the close, and taking them then
// breaks nothing.
func TestSignalsAfterTheClose(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		for i := range 3 {
			go func() { _ = p.a.Signal(background, []byte{byte(i)}) }()
			synctest.Wait()
		}
		require.NoError(t, p.b.Close(background))
		<-p.a.Done()
		<-p.b.Done()
		for i := range 3 {
			got, err := p.b.ReceiveSignal(background)
			require.NoError(t, err, "also on the side that closed")
			require.Equal(t, []byte{byte(i)}, got)
		}
		_, err := p.b.ReceiveSignal(background)
		require.Same(t, p.b.Err(), err)
	})
}

// An application that takes no signals does not hold up the close.
func TestSignalsDoNotHoldUpTheClose(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		for range 2 * DefaultMaxSignals {
			go func() { _ = p.a.Signal(background, make([]byte, DefaultMaxSignal)) }()
		}
		synctest.Wait()
		start := time.Now()
		require.NoError(t, p.a.Close(background))
		require.Less(t, time.Since(start), time.Millisecond)
	})
}

// Flow control that runs out holds signals back, and keeps their order.
func TestSignalsWithoutFlowControlCredit(t *testing.T) {
	testPair(t, nil, func(t *testing.T, p *pair) {
		p.aStream.limit(0)
		payload := []byte("?")
		for i := range 5 {
			payload[0] = byte('0' + i)
			ctx, cancel := context.WithTimeout(background, time.Millisecond)
			require.ErrorIs(t, p.a.Signal(ctx, payload), ErrSignalUnknown)
			cancel()
		}
		payload[0] = '!' // the caller's again
		p.aStream.limit(1 << 20)
		for i := range 5 {
			got, err := p.b.ReceiveSignal(background)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), string(got))
		}
	})
}
