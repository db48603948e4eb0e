package integration_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// In a burst of messages that fill their datagrams, packets fill up to the
// byte, so that the kernel takes many with one write (UDP GSO), and hands many
// over with one read (UDP GRO).
func TestBurstsEngageOffload(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("offload is used on Linux only")
	}
	ctx := within(t, 30*time.Second)
	a := startPeer(t, "127.0.0.1:0", &quicpeer.Config{Trust: certs.Anyone()})
	b := startPeer(t, "127.0.0.1:0", &quicpeer.Config{Trust: certs.Anyone()})
	over := make(chan struct{})
	b.Handle("burst", func(in *quicpeer.Incoming) {
		defer close(over)
		s, err := in.Accept(nil)
		for err == nil {
			_, err = s.Receive(ctx)
		}
	})
	s, err := a.Dial(ctx, b.Addr().String(), &quicpeer.DialOptions{Protocol: "burst"})
	require.NoError(t, err)
	// Discovery of the path's size takes some round trips with traffic; it is
	// over when the size has not changed for a while.
	size, since := 0, time.Now()
	for time.Since(since) < 500*time.Millisecond {
		require.NoError(t, s.Send(ctx, make([]byte, 1000)))
		if n := s.DatagramSize(); n != size {
			size, since = n, time.Now()
		}
	}

	sent, received := a.Stats().Socket, b.Stats().Socket
	message := make([]byte, s.DatagramSize())
	for range 5000 {
		require.NoError(t, s.Send(ctx, message))
	}
	require.NoError(t, s.Close(ctx))
	<-over

	now := a.Stats().Socket
	packets, calls := now.SentPackets-sent.SentPackets, now.SendCalls-sent.SendCalls
	t.Logf("%d packets sent in %d calls", packets, calls)
	require.GreaterOrEqual(t, packets, uint64(5000), "one message fills one packet")
	require.InDelta(t, a.Links()[0].Transport.PacketsSent, now.SentPackets, 20, "QUIC counts as many, those of the handshake apart, which share")
	require.Less(t, calls, packets/2)

	now = b.Stats().Socket
	if !now.ReceiveOffload {
		t.Skip("no receive offload here")
	}
	packets, calls = now.ReceivedPackets-received.ReceivedPackets, now.ReceiveCalls-received.ReceiveCalls
	coalesced := now.CoalescedPackets - received.CoalescedPackets
	t.Logf("%d packets received in %d calls, %d of them coalesced", packets, calls, coalesced)
	require.Greater(t, packets, 2*calls)
	require.Greater(t, coalesced, packets/2)
}
