package quicpeer

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/session"
)

func TestSmoke(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	a, err := Listen("127.0.0.1:0", &Config{Trust: certs.Anyone(), Protocols: []string{"echo"}})
	require.NoError(t, err)
	b, err := Listen("127.0.0.1:0", &Config{Trust: certs.Anyone(), Protocols: []string{"echo"}})
	require.NoError(t, err)
	type res struct {
		s   *Session
		err error
	}
	ch := make(chan res, 1)
	go func() {
		in, err := b.Accept(ctx)
		if err != nil {
			ch <- res{nil, err}
			return
		}
		s, err := in.Accept([]byte("hi"))
		ch <- res{s, err}
	}()
	sa, err := a.Dial(ctx, b.Addr().String(), &DialOptions{Protocol: "echo", Metadata: []byte("m")})
	require.NoError(t, err)
	r := <-ch
	require.NoError(t, r.err)
	sb := r.s
	require.Equal(t, "hi", string(sa.AcceptMetadata()))
	require.Equal(t, "m", string(sb.Metadata()))
	for range 100 {
		require.NoError(t, sa.Send(ctx, []byte("hello")))
	}
	go func() {
		for {
			p, err := sb.ReceiveSignal(ctx)
			if err != nil {
				return
			}
			_ = p
		}
	}()
	require.NoError(t, sa.Signal(ctx, []byte("sig")))
	rtt, err := sa.Ping(ctx)
	require.NoError(t, err)
	t.Log("rtt", rtt)
	start := time.Now()
	require.NoError(t, sa.CloseWithError(ctx, 0x123, "bye"))
	t.Log("close took", time.Since(start))
	n := 0
	for {
		_, err := sb.Receive(ctx)
		if err != nil {
			require.ErrorIs(t, err, &session.Error{Cause: session.CauseClosed, Code: 0x123, Remote: true})
			break
		}
		n++
	}
	require.Equal(t, 100, n)
	<-sa.Done()
	<-sb.Done()
	t.Logf("%+v", sa.Stats())
	t.Logf("%+v", sb.Stats())
	require.True(t, sa.Stats().Complete)
	require.True(t, sb.Stats().Complete)
	start = time.Now()
	require.NoError(t, a.Close(ctx))
	t.Log("endpoint close took", time.Since(start))
	require.NoError(t, b.Close(ctx))
}
