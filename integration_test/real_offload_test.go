package integration_test

import (
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// countingConn counts how often a packet, or a batch of them, is written.
type countingConn struct {
	*net.UDPConn
	writes atomic.Uint64
}

func (c *countingConn) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (int, int, error) {
	c.writes.Add(1)
	return c.UDPConn.WriteMsgUDP(b, oob, to)
}

// In a burst of messages that fill their datagrams, packets fill up to the
// byte, so that the kernel takes many with one write (UDP GSO).
func TestBurstsEngageSendOffload(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("quic-go uses send offload on Linux only")
	}
	ctx := within(t, 30*time.Second)
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer udp.Close()
	conn := &countingConn{UDPConn: udp}
	a, err := quicpeer.ListenPacket(conn, &quicpeer.Config{Trust: certs.Anyone()})
	require.NoError(t, err)
	defer a.Close(ctx)
	b, err := quicpeer.Listen("127.0.0.1:0", &quicpeer.Config{Trust: certs.Anyone()})
	require.NoError(t, err)
	defer b.Close(ctx)
	b.Handle("burst", func(in *quicpeer.Incoming) {
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
	stats := func() (packets, bytes, writes uint64) {
		l := a.Links()[0].Transport
		return l.PacketsSent, l.BytesSent, conn.writes.Load()
	}
	packets, bytes, writes := stats()
	message := make([]byte, s.DatagramSize())
	for range 5000 {
		require.NoError(t, s.Send(ctx, message))
	}
	require.NoError(t, s.Close(ctx))
	p, n, w := stats()
	packets, bytes, writes = p-packets, n-bytes, w-writes
	t.Logf("%d packets of %d bytes on average, in %d writes", packets, bytes/packets, writes)
	require.GreaterOrEqual(t, packets, uint64(5000), "one message fills one packet")
	require.Less(t, writes, packets/2)
}
