package faultnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds a wait for something that comes at once; reaching it fails
// the test.
const patience = 20 * time.Second

// udp is a socket on loopback.
type udp struct {
	t *testing.T
	*net.UDPConn
}

func newUDP(t *testing.T) *udp {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return &udp{t, c}
}

func (u *udp) addr() netip.AddrPort { return localAddr(u.UDPConn) }

func (u *udp) send(to netip.AddrPort, text string) {
	u.t.Helper()
	_, err := u.WriteToUDPAddrPort([]byte(text), to)
	require.NoError(u.t, err)
}

func (u *udp) receive() (text string, from netip.AddrPort) {
	u.t.Helper()
	b := make([]byte, 64<<10)
	require.NoError(u.t, u.SetReadDeadline(time.Now().Add(patience)))
	n, from, err := u.ReadFromUDPAddrPort(b)
	require.NoError(u.t, err)
	return string(b[:n]), unmap(from)
}

func (u *udp) want(text string) (from netip.AddrPort) {
	u.t.Helper()
	got, from := u.receive()
	require.Equal(u.t, text, got)
	return from
}

func startRelay(t *testing.T, server *udp, c *Config) *Relay {
	t.Helper()
	r, err := Start(t.Context(), server.addr().String(), c)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, r.Close())
		for _, c := range both(r.Counts()) {
			require.Equal(t, c.Offered, c.Unharmed+c.Harmed+c.Dropped(), "each packet has one fate")
		}
	})
	return r
}

func both(a, b Counts) []Counts { return []Counts{a, b} }

// until waits until the counts are as wanted.
func until(t *testing.T, r *Relay, ok func(toServer, toClient Counts) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(r.Counts()); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			toServer, toClient := r.Counts()
			require.FailNow(t, "the counts never came", "%+v\n%+v", toServer, toClient)
		}
	}
}

// Packets go both ways, of any size, and each client has a socket of its own.
func TestRelayPassesOn(t *testing.T) {
	server, a, b := newUDP(t), newUDP(t), newUDP(t)
	r := startRelay(t, server, nil)
	a.send(r.Addr(), "a")
	fromA := server.want("a")
	b.send(r.Addr(), "b")
	fromB := server.want("b")
	require.NotEqual(t, fromA, fromB)
	require.Equal(t, []netip.AddrPort{a.addr(), b.addr()}, r.Clients())
	outside, err := r.Outside(1)
	require.NoError(t, err)
	require.Equal(t, fromB, outside)
	large := string(make([]byte, 60_000))
	for _, text := range []string{"", large} {
		server.send(fromB, text)
		require.Equal(t, r.Addr(), b.want(text))
	}
	until(t, r, func(toServer, toClient Counts) bool {
		want := Counts{Offered: 2, Unharmed: 2, Delivered: 2}
		return toServer == want && toClient == want
	})
}

// The relay decides as its seed says, for each client by itself.
func TestRelayDecidesBySeed(t *testing.T) {
	const n = 100
	faults := Faults{Loss: 0.2, Duplicate: 0.2, Corrupt: 0.2}
	var want []string
	line := NewLine(5, 2) // the second client's, to the server
	require.NoError(t, line.Set(faults))
	for i := range n {
		for _, d := range line.Append(nil, fmt.Append(nil, i)) {
			want = append(want, string(d.Packet))
		}
	}
	server, first, second := newUDP(t), newUDP(t), newUDP(t)
	r := startRelay(t, server, &Config{Seed: 5, ToServer: faults})
	first.send(r.Addr(), "comes first")
	until(t, r, func(toServer, _ Counts) bool { return toServer.Offered == 1 })
	for i := range n {
		second.send(r.Addr(), fmt.Sprint(i))
	}
	outside := netip.AddrPort{}
	for i := 0; i < len(want); {
		text, from := server.receive()
		if text == "comes first" {
			continue
		}
		require.Equal(t, want[i], text, "packet %d", i)
		outside = from
		i++
	}
	seen, err := r.Outside(1)
	require.NoError(t, err)
	require.Equal(t, seen, outside)
}

// What is held back comes after what is not.
func TestRelayReorders(t *testing.T) {
	server, client := newUDP(t), newUDP(t)
	r := startRelay(t, server, &Config{ToServer: Faults{Reorder: 1, ReorderBy: 100 * time.Millisecond}})
	client.send(r.Addr(), "late")
	until(t, r, func(toServer, _ Counts) bool { return toServer.Offered == 1 })
	require.NoError(t, r.Set(ToServer, Faults{}))
	client.send(r.Addr(), "early")
	server.want("early")
	server.want("late")
}

// A schedule does to a relay what it says.
func TestRelayPlaysASchedule(t *testing.T) {
	server, a, b := newUDP(t), newUDP(t), newUDP(t)
	r := startRelay(t, server, nil)
	play := func(e Event) {
		t.Helper()
		require.NoError(t, Schedule{{Do: e}}.Play(t.Context(), r))
	}
	outside := map[*udp]netip.AddrPort{}
	ask := func(c *udp) {
		t.Helper()
		c.send(r.Addr(), "ping")
		outside[c] = server.want("ping")
		server.send(outside[c], "pong")
		require.Equal(t, r.Addr(), c.want("pong"))
	}
	ask(a)
	ask(b)
	oldA, oldB := outside[a], outside[b]

	play(RebindClient{0})
	server.send(oldA, "lost: forgotten")
	ask(a)
	require.NotEqual(t, oldA, outside[a])
	until(t, r, func(_, toClient Counts) bool { return toClient.Unrouted == 1 })

	newA := outside[a]
	play(Swap{0, 1})
	ask(a)
	ask(b)
	require.Equal(t, []netip.AddrPort{oldB, newA}, []netip.AddrPort{outside[a], outside[b]})

	oldFront := r.Addr()
	play(RebindServer{})
	require.NotEqual(t, oldFront, r.Addr())
	a.send(oldFront, "lost: forgotten")
	until(t, r, func(toServer, _ Counts) bool { return toServer.Unrouted == 1 })
	server.send(outside[a], "from another port")
	require.Equal(t, r.Addr(), a.want("from another port"))
	ask(a)

	play(Cut{BothWays})
	a.send(r.Addr(), "lost")
	server.send(outside[a], "lost")
	until(t, r, func(toServer, toClient Counts) bool { return toServer.Blackholed == 1 && toClient.Blackholed == 1 })
	play(Mend{BothWays})
	ask(a)

	play(Set{ToServer, Faults{MTU: 4}})
	a.send(r.Addr(), "large")
	until(t, r, func(toServer, _ Counts) bool { return toServer.TooLong == 1 })
	ask(a)
	for _, e := range []Event{RebindClient{2}, Swap{0, -1}, Swap{2, 0}, Cut{0}, Set{ToServer, Faults{Loss: 2}}} {
		require.Error(t, e.on(r), "%T%+v", e, e)
	}
}

// Only so many clients are served; the others are counted.
func TestRelayServesSoManyClients(t *testing.T) {
	server, a, b := newUDP(t), newUDP(t), newUDP(t)
	r := startRelay(t, server, &Config{Clients: 1})
	a.send(r.Addr(), "first")
	server.want("first")
	b.send(r.Addr(), "one too many")
	until(t, r, func(toServer, _ Counts) bool { return toServer.TooMany == 1 })
	a.send(r.Addr(), "still served")
	server.want("still served")
	_, err := r.Outside(1)
	require.ErrorContains(t, err, "there is no client 1, 1 have come")
}

// Addresses that were given up stay bound, but not without end.
func TestRelayForgets(t *testing.T) {
	server, a := newUDP(t), newUDP(t)
	r := startRelay(t, server, nil)
	a.send(r.Addr(), "hello")
	server.want("hello")
	for range maxForgotten {
		require.NoError(t, r.RebindClient(0))
		require.NoError(t, r.RebindServer())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Len(t, r.forgotten, maxForgotten)
	require.Len(t, r.sockets, 1)
}

// A server that is away for long is found again, and reading that fails for good
// costs little.
func TestRelayReadsOnAfterErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 5 * quickFailures
		began, n := time.Now(), 0
		var got []string
		readAll(func(b []byte) (int, netip.AddrPort, error) {
			switch n++; n {
			case calls:
				return copy(b, "back"), netip.AddrPort{}, nil
			case calls + 1:
				return 0, netip.AddrPort{}, &net.OpError{Op: "read", Err: net.ErrClosed}
			}
			return 0, netip.AddrPort{}, syscall.ECONNREFUSED
		}, func(_ netip.AddrPort, packet []byte) { got = append(got, string(packet)) })
		require.Equal(t, []string{"back"}, got)
		require.Equal(t, (calls-1-quickFailures)*failurePause, time.Since(began))
	})
}

// The relay ends with its context, and Close waits for it.
func TestRelayEnds(t *testing.T) {
	server, a := newUDP(t), newUDP(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Start(ctx, server.addr().String(), &Config{ToServer: Faults{Delay: time.Hour}})
	require.NoError(t, err)
	a.send(r.Addr(), "never comes")
	until(t, r, func(toServer, _ Counts) bool { return toServer.Offered == 1 })
	cancel()
	r.running.Wait() // by itself
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	require.ErrorIs(t, r.RebindClient(0), net.ErrClosed)
	require.ErrorIs(t, r.RebindServer(), net.ErrClosed)

	r, err = Start(t.Context(), server.addr().String(), nil)
	require.NoError(t, err)
	require.NoError(t, r.Close())
}

func TestRelayRefusesNonsense(t *testing.T) {
	for why, start := range map[string]func() (*Relay, error){
		`server "localhost"`:       func() (*Relay, error) { return Start(t.Context(), "localhost", nil) },
		`listen on "here"`:         func() (*Relay, error) { return Start(t.Context(), "127.0.0.1:9", &Config{Listen: "here"}) },
		"-1 clients, want a numbe": func() (*Relay, error) { return Start(t.Context(), "127.0.0.1:9", &Config{Clients: -1}) },
		"Loss is 2": func() (*Relay, error) {
			return Start(t.Context(), "127.0.0.1:9", &Config{ToClient: Faults{Loss: 2}})
		},
		"bind": func() (*Relay, error) {
			return Start(t.Context(), "127.0.0.1:9", &Config{Listen: "192.0.2.1:1"})
		},
	} {
		_, err := start()
		require.ErrorContains(t, err, why)
	}
}
