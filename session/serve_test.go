package session

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// Whoever works on an incoming session, and for however long, its stream is
// read.
func TestServe(t *testing.T) {
	t.Run("answers at once", func(t *testing.T) {
		testLinks(t, func(t *testing.T, client, server *testLink) {
			over := make(chan error, 1)
			server.serve = func(in *Incoming) {
				s, err := in.Accept(nil)
				for err == nil {
					_, err = s.ReceiveSignal(background)
				}
				over <- err
			}
			r, _, _ := client.dial(Open{Protocol: "p"})
			require.NoError(t, r.WaitOpen(background))
			for range 3 {
				require.NoError(t, r.Session().Signal(background, []byte("x")))
			}
			require.NoError(t, r.Session().Close(background))
			require.ErrorIs(t, <-over, &Error{Cause: CauseClosed, Remote: true})
		})
	})
	t.Run("makes up its mind", func(t *testing.T) {
		testLinks(t, func(t *testing.T, client, server *testLink) {
			answer, answered := make(chan struct{}), make(chan error)
			server.serve = func(in *Incoming) {
				<-answer
				_, err := in.Accept(nil)
				answered <- err
			}
			r, _, _ := client.dial(Open{Protocol: "p"})
			ctx, cancel := context.WithCancel(background)
			cancel()
			require.Equal(t, context.Canceled, r.WaitOpen(ctx))
			<-server.withdrawn // read while nobody has answered
			<-r.Session().Done()
			close(answer)
			require.ErrorIs(t, <-answered, ErrWithdrawn)
		})
	})
	t.Run("never answers", func(t *testing.T) {
		testLinks(t, func(t *testing.T, client, server *testLink) {
			server.serve = func(*Incoming) {}
			r, mine, _ := client.dial(Open{Protocol: "p"})
			synctest.Wait()
			mine.write(Signal{})
			require.ErrorIs(t, r.WaitOpen(background), &Error{Cause: CauseAborted, Code: CodeViolation, Remote: true})
		})
	})
	t.Run("comes late", func(t *testing.T) {
		testLinks(t, func(t *testing.T, client, server *testLink) {
			r, _, _ := client.dial(Open{Protocol: "p"})
			in := <-server.offered
			synctest.Wait()
			Serve(in, func() { _ = in.Reject(CodeBusy, "", 0) })
			require.ErrorIs(t, r.WaitOpen(background), &Error{Cause: CauseRejected, Code: CodeBusy, Remote: true})
		})
	})
}

// Awaiting a frame takes no byte from it, and none of the next one.
func TestAwaitFrame(t *testing.T) {
	frames := []Frame{Open{Protocol: "p"}, SignalAck{Taken: 300}, Signal{Payload: bytes.Repeat([]byte("x"), 100)}, Ping{}, SignalAck{}}
	var b []byte
	for _, f := range frames {
		b = f.Append(b)
		b = append(Unknown{Type: ReservedType(1)}.Append(b), Unknown{Type: ReservedType(1e9), Value: make([]byte, 70)}.Append(nil)...)
	}
	for name, src := range map[string]io.Reader{"whole": bytes.NewReader(b), "bytes": iotest.OneByteReader(bytes.NewReader(b)), "with EOF": iotest.DataErrReader(bytes.NewReader(b))} {
		r := NewFrameReader(src, Limits{})
		var got []Frame
		var err error
		for err == nil {
			var f Frame
			if err = r.await(); err == nil {
				f, err = r.nextFrame()
			}
			if f != nil {
				got = append(got, f)
			}
		}
		require.Equal(t, io.EOF, err, name)
		require.Equal(t, frames, got, name)
	}
	r := NewFrameReader(bytes.NewReader(b[:1]), Limits{})
	require.NoError(t, r.await())
	_, err := r.nextFrame()
	require.Equal(t, io.ErrUnexpectedEOF, err)
}
