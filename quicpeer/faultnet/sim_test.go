package faultnet

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
	"github.com/stretchr/testify/require"
)

// simNet is a network in a bubble.
type simNet struct {
	*Sim
	settle func(time.Duration) // lets time go by, and what happens in it be over
}

// host is one on a simulated network, and what it has received.
type host struct {
	net  *simNet
	t    *testing.T
	conn *simnet.SimConn
	addr netip.AddrPort
	got  []arrival
}

type arrival struct {
	at   time.Duration // since its host was made
	from string
	text string
}

// inSim runs a test with a network, in a bubble. Its hosts end with it.
func inSim(t *testing.T, standard Faults, f func(t *testing.T, s *simNet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &simNet{NewSim(1, standard), func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}}
		f(t, s)
		require.NoError(t, s.Close())
		synctest.Wait() // for the hosts' readers
		c := s.Total()
		require.Equal(t, c.Offered, c.Unharmed+c.Harmed+c.Dropped(), "each packet has one fate")
	})
}

func newHost(t *testing.T, s *simNet, address string) *host {
	t.Helper()
	conn, err := s.Listen(netip.MustParseAddrPort(address))
	require.NoError(t, err)
	h := &host{net: s, t: t, conn: conn, addr: netip.MustParseAddrPort(address)}
	began := time.Now()
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			h.got = append(h.got, arrival{time.Since(began), from.String(), string(b[:n])})
		}
	}()
	return h
}

func (h *host) send(to, text string) {
	h.t.Helper()
	_, err := h.conn.WriteTo([]byte(text), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
	require.NoError(h.t, err, "no sender is told what becomes of a packet")
}

// want waits until nothing moves any more, and compares all that has come.
func (h *host) want(why string, want ...arrival) {
	h.t.Helper()
	h.net.settle(time.Minute)
	require.Equal(h.t, want, h.got, why)
	h.got = nil
}

func (h *host) wantTexts(why string, want ...string) {
	h.t.Helper()
	h.net.settle(time.Minute)
	var got []string
	for _, a := range h.got {
		got = append(got, a.text)
	}
	require.Equal(h.t, want, got, why)
	h.got = nil
}

const addrA, addrB, addrC = "10.0.0.1:1", "10.0.0.2:2", "10.0.0.3:3"

func at(address string) netip.AddrPort { return netip.MustParseAddrPort(address) }

func TestSimTakesItsTime(t *testing.T) {
	inSim(t, Faults{Delay: time.Second}, func(t *testing.T, s *simNet) {
		a, b := newHost(t, s, addrA), newHost(t, s, addrB)
		a.send(addrB, "standard")
		require.NoError(t, s.SetFaults(at(addrA), at(addrB), Faults{Delay: 500 * time.Millisecond, Reorder: 1, ReorderBy: 300 * time.Millisecond}))
		a.send(addrB, "faster")
		b.send(addrA, "back")
		b.want("each in its time", arrival{800 * time.Millisecond, addrA, "faster"}, arrival{time.Second, addrA, "standard"})
		require.Equal(t, []arrival{{time.Second, addrB, "back"}}, a.got)
		require.Equal(t, Counts{Offered: 2, Unharmed: 1, Harmed: 1, Reordered: 1, Delivered: 2}, s.Counts(at(addrA), at(addrB)))
		require.Equal(t, Counts{Offered: 1, Unharmed: 1, Delivered: 1}, s.Counts(at(addrB), at(addrA)))
		require.Zero(t, s.Counts(at(addrB), at(addrC)))
		require.ErrorContains(t, s.SetFaults(at(addrA), at(addrB), Faults{Loss: 2}), "Loss is 2")
	})
}

func TestSimCutsAndMends(t *testing.T) {
	inSim(t, Faults{}, func(t *testing.T, s *simNet) {
		a, b := newHost(t, s, addrA), newHost(t, s, addrB)
		s.Cut(a.addr, b.addr)
		a.send(addrB, "lost")
		b.send(addrA, "the other way")
		a.wantTexts("one way", "the other way")
		s.Mend(a.addr, b.addr)
		a.send(addrB, "mended")
		b.wantTexts("mended", "mended")
		require.EqualValues(t, 1, s.Counts(a.addr, b.addr).Blackholed)
	})
}

func TestSimRebinds(t *testing.T) {
	inSim(t, Faults{}, func(t *testing.T, s *simNet) {
		a, b := newHost(t, s, addrA), newHost(t, s, addrB)
		s.Rebind(a.addr, at("192.0.2.1:1000"))
		a.send(addrB, "through a NAT")
		b.send(addrA, "lost: its own address is hidden")
		b.send("192.0.2.1:1000", "one")
		s.Rebind(a.addr, at("192.0.2.1:2000"))
		a.send(addrB, "from another port")
		b.send("192.0.2.1:1000", "lost: forgotten")
		b.send("192.0.2.1:2000", "two")
		a.wantTexts("what is for its outside", "one", "two")
		require.Equal(t, []string{"192.0.2.1:1000", "192.0.2.1:2000"}, []string{b.got[0].from, b.got[1].from})
		require.Equal(t, "192.0.2.1:2000", s.Outside(a.addr).String())
		require.EqualValues(t, 2, s.Total().Unrouted)
		require.EqualValues(t, 2, s.Counts(b.addr, a.addr).Delivered, "by the hosts' own addresses")
	})
}

// An address that was taken over is not lost when its last owner gets another.
func TestSimTakesAddressesOver(t *testing.T) {
	inSim(t, Faults{}, func(t *testing.T, s *simNet) {
		a, b, c := newHost(t, s, addrA), newHost(t, s, addrB), newHost(t, s, addrC)
		s.Rebind(b.addr, a.addr)
		c.send(addrA, "one")
		s.Rebind(a.addr, at("192.0.2.1:1000"))
		c.send(addrA, "two")
		require.NoError(t, s.Between(a.addr).RebindServer())
		c.send(addrA, "three")
		s.Rebind(c.addr, a.addr)
		require.NoError(t, s.Between(b.addr).RebindServer())
		a.send(addrA, "four")
		b.wantTexts("it has the address", "one", "two", "three")
		c.wantTexts("now this one has it", "four")
		a.wantTexts("its address is another's")
	})
}

func TestSimSwaps(t *testing.T) {
	inSim(t, Faults{}, func(t *testing.T, s *simNet) {
		a, b, c := newHost(t, s, addrA), newHost(t, s, addrB), newHost(t, s, addrC)
		for round, to := range []string{addrB, addrA} {
			s.Swap(a.addr, b.addr)
			a.send(addrC, "of a")
			c.send(to, "to a")
			c.want("comes from the other address", arrival{time.Duration(2*round) * time.Minute, to, "of a"})
			a.wantTexts("swapped", "to a")
			require.Empty(t, b.got)
		}
	})
}

func TestSimReroutesAndRemoves(t *testing.T) {
	inSim(t, Faults{Delay: time.Second}, func(t *testing.T, s *simNet) {
		a, b, c := newHost(t, s, addrA), newHost(t, s, addrB), newHost(t, s, addrC)
		s.Reroute(b.addr, c.addr)
		a.send(addrB, "for b")
		c.wantTexts("rerouted", "for b")
		a.send(addrC, "on its way")
		s.Remove(c.addr)
		c.send(addrA, "nothing gets out")
		a.send(addrC, "nobody there")
		a.want("removed")
		c.want("removed")
		require.EqualValues(t, 1, s.Total().Unsent)
		require.EqualValues(t, 2, s.Total().Unrouted)

		again := newHost(t, s, addrC)
		c.send(addrA, "the first host stays off")
		again.send(addrA, "started again")
		a.wantTexts("started again", "started again")
		require.Empty(t, b.got)
	})
}

// A host that does not read holds up nobody else, and its packets wait.
func TestSimHostThatDoesNotRead(t *testing.T) {
	inSim(t, Faults{}, func(t *testing.T, s *simNet) {
		a, c := newHost(t, s, addrA), newHost(t, s, addrC)
		deaf, err := s.Listen(at(addrB))
		require.NoError(t, err)
		for range maxFlying + 100 {
			a.send(addrB, "?")
		}
		a.send(addrC, "!")
		c.wantTexts("held up by nobody", "!")
		counts := s.Counts(a.addr, at(addrB))
		require.Positive(t, counts.QueueFull)
		require.EqualValues(t, maxFlying+100, counts.Unharmed)
		b := make([]byte, 10)
		n, from, err := deaf.ReadFrom(b)
		require.NoError(t, err)
		require.Equal(t, "? from "+addrA, string(b[:n])+" from "+from.String())
	})
}

// A network serves hosts of package simnet, too.
func TestSimIsARouter(t *testing.T) {
	inSim(t, Faults{Duplicate: 1}, func(t *testing.T, s *simNet) {
		a := simnet.NewSimConn(net.UDPAddrFromAddrPort(at(addrA)), s)
		b := newHost(t, s, addrB)
		_, err := a.WriteTo([]byte("hello"), b.conn.LocalAddr())
		require.NoError(t, err)
		b.want("twice", arrival{0, addrA, "hello"}, arrival{0, addrA, "hello"})
		require.NoError(t, a.Close())
	})
}

func TestSimRefusesNonsense(t *testing.T) {
	inSim(t, Faults{}, func(t *testing.T, s *simNet) {
		_, err := s.Listen(netip.AddrPort{})
		require.ErrorContains(t, err, "no address of a host")
		require.Panics(t, func() { NewSim(1, Faults{Loss: 2}) })
		require.NoError(t, s.Close())
		_, err = s.Listen(at(addrA))
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

// A schedule does to a simulated server and its clients what it says.
func TestSimPlaysASchedule(t *testing.T) {
	inSim(t, Faults{}, func(t *testing.T, s *simNet) {
		server, c0, c1 := newHost(t, s, addrA), newHost(t, s, addrB), newHost(t, s, addrC)
		n := s.Between(server.addr, c0.addr, c1.addr)
		play := func(e Event) {
			t.Helper()
			require.NoError(t, Schedule{{Do: e}}.Play(t.Context(), n))
		}
		// ping returns the address that each side sees of the other.
		ping := func(c *host, to string) (client, serverSeen string) {
			c.send(to, "ping")
			s.settle(time.Second)
			if len(server.got) == 0 {
				return "", ""
			}
			client, server.got = server.got[0].from, nil
			server.send(client, "pong")
			s.settle(time.Second)
			if len(c.got) == 0 {
				return client, ""
			}
			serverSeen, c.got = c.got[0].from, nil
			return client, serverSeen
		}
		want := func(c *host, to, client, serverSeen string) {
			t.Helper()
			gotClient, gotServer := ping(c, to)
			require.Equal(t, client, gotClient)
			require.Equal(t, serverSeen, gotServer)
		}
		want(c0, addrA, addrB, addrA)
		play(RebindClient{0})
		want(c0, addrA, "10.0.0.2:3", addrA)
		play(Swap{0, 1})
		want(c0, addrA, addrC, addrA)
		want(c1, addrA, "10.0.0.2:3", addrA)
		play(RebindServer{})
		want(c0, addrA, "", "")
		want(c0, "10.0.0.1:2", addrC, "10.0.0.1:2")
		play(Cut{ToClient})
		want(c1, "10.0.0.1:2", "10.0.0.2:3", "")
		play(Mend{ToClient})
		play(Set{ToServer, Faults{Loss: 1}})
		want(c0, "10.0.0.1:2", "", "")
		play(Set{BothWays, Faults{}})
		want(c1, "10.0.0.1:2", "10.0.0.2:3", "10.0.0.1:2")
		for _, e := range []Event{RebindClient{2}, Swap{0, -1}, Swap{2, 0}, Set{0, Faults{}}} {
			require.Error(t, e.on(n), "%T%+v", e, e)
		}
	})
}

// Ports of hosts and of their outsides are not given away.
func TestSimRebindsToAFreePort(t *testing.T) {
	inSim(t, Faults{}, func(t *testing.T, s *simNet) {
		newHost(t, s, "10.0.0.1:65535")
		newHost(t, s, "10.0.0.1:1")
		s.Rebind(at(addrB), at("10.0.0.1:2"))
		require.NoError(t, s.Between(at("10.0.0.1:65535")).RebindServer())
		require.Equal(t, "10.0.0.1:3", s.Outside(at("10.0.0.1:65535")).String())
	})
}
