package path

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func listen(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func address(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// next reads a packet that is there soon.
func next(t *testing.T, c *net.UDPConn) (string, netip.AddrPort) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	b := make([]byte, 2000)
	n, from, err := c.ReadFromUDPAddrPort(b)
	require.NoError(t, err)
	return string(b[:n]), from
}

func send(t *testing.T, c *net.UDPConn, what string, to netip.AddrPort) {
	t.Helper()
	_, err := c.WriteToUDPAddrPort([]byte(what), to)
	require.NoError(t, err)
}

func TestRelayBothWays(t *testing.T) {
	server, client, stranger := listen(t), listen(t), listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Start(ctx, address(server), Config{Rate: 10_000_000, Delay: 2 * time.Millisecond})
	require.NoError(t, err)

	begun := time.Now()
	send(t, client, "hello", r.Addr())
	got, back := next(t, server)
	require.Equal(t, "hello", got)
	send(t, server, "hi", back)
	got, from := next(t, client)
	require.Equal(t, "hi", got)
	require.Equal(t, r.Addr(), from)
	require.GreaterOrEqual(t, time.Since(begun), 4*time.Millisecond, "there and back")

	send(t, stranger, "and me?", r.Addr())
	send(t, client, "again", r.Addr())
	got, _ = next(t, server)
	require.Equal(t, "again", got, "a path has one client")

	for {
		if toServer, toClient := r.Counts(); toServer.Passed == 2 && toClient.Passed == 1 {
			require.Equal(t, Counts{Passed: 2, Bytes: 10, Stranger: 1}, toServer)
			require.Equal(t, Counts{Passed: 1, Bytes: 2}, toClient)
			break
		}
		require.NoError(t, ctx.Err())
		runtime.Gosched() // a packet is counted once it is written
	}
	cancel()
	r.Wait()
	_, err = r.back.Write(nil)
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = r.front.WriteToUDPAddrPort(nil, address(client))
	require.ErrorIs(t, err, net.ErrClosed)
}

// What a server that is away gets is gone, and the path is there for the next
// one.
func TestRelayOutlivesItsServer(t *testing.T) {
	server, client := listen(t), listen(t)
	r, err := Start(t.Context(), address(server), Config{})
	require.NoError(t, err)
	require.NoError(t, server.Close())
	for range 3 {
		send(t, client, "anybody?", r.Addr())
	}
	server, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(address(server)))
	require.NoError(t, err)
	defer server.Close()
	for got := ""; got != "now"; {
		send(t, client, "now", r.Addr())
		got, _ = next(t, server)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{Rate: -1}, {Delay: -1}, {Queue: -1}, {Loss: -0.1}, {Loss: 1}} {
		_, err := Start(t.Context(), netip.MustParseAddrPort("127.0.0.1:9"), c)
		require.Error(t, err, "%+v", c)
	}
}

// What the system drops before the relay reads it is no loss of the path's: it is
// counted apart.
func TestMissedPacketsAreCounted(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
	server, client := listen(t), listen(t)
	countMissed(server)
	require.NoError(t, server.SetReadBuffer(1))
	b := make([]byte, 1000)
	for range 100 {
		_, err := client.WriteToUDPAddrPort(b, address(server))
		require.NoError(t, err)
	}
	oob, missed, got := make([]byte, 64), uint32(0), uint32(0)
	require.NoError(t, server.SetReadDeadline(time.Now().Add(10*time.Second)))
	for got < 100 && missed == 0 {
		_, n, _, _, err := server.ReadMsgUDPAddrPort(b, oob)
		require.NoError(t, err)
		got++
		if m, ok := parseMissed(oob[:n]); ok {
			missed = m
		}
		if missed == 0 { // the count comes with a packet that came after the loss
			_, err = client.WriteToUDPAddrPort(b, address(server))
			require.NoError(t, err)
		}
	}
	require.NotZero(t, missed)
	require.Less(t, missed, uint32(200))
}
