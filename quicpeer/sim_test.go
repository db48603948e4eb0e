package quicpeer

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer/faultnet"
	"github.com/oneportnet/quicpeer/session"
)

// simPair is two endpoints with a session, in a bubble of virtual time.
type simPair struct {
	t    *testing.T
	net  *faultnet.Sim
	peer *Endpoint // that was dialed
	l    *link     // of the one that dialed
	s    *Session
	pass func(time.Duration) // lets the bubble's time go by
}

func simulate(t *testing.T, delay time.Duration, f func(t *testing.T, p *simPair)) {
	synctest.Test(t, func(t *testing.T) {
		p := &simPair{t: t, net: faultnet.NewSim(1, faultnet.Faults{Delay: delay}), pass: time.Sleep}
		t.Cleanup(func() { require.NoError(t, p.net.Close()) })
		e := p.listen("10.0.0.1:1000")
		p.peer = p.listen("10.0.0.2:1000")
		acceptAll(p.peer)
		var err error
		p.s, err = dialChat(t.Context(), e, p.peer.Addr())
		require.NoError(t, err)
		p.l = onlyLink(e)
		p.pass(time.Second) // until nothing is in flight
		f(t, p)
	})
}

func (p *simPair) listen(address string) *Endpoint {
	conn, err := p.net.Listen(netip.MustParseAddrPort(address))
	require.NoError(p.t, err)
	e, err := ListenPacket(conn, &Config{Trust: certs.Anyone(), Protocols: []string{chat}})
	require.NoError(p.t, err)
	p.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = e.Close(ctx)
		_ = conn.Close()
	})
	return e
}

// cut keeps everything from the peer away.
func (p *simPair) cut() { p.net.Cut(addrPort(p.l.conn.RemoteAddr()), addrPort(p.l.ep.Addr())) }

// A shutdown knows of every session that was on its way to be opened.
func TestShutdownWaitsForOpeners(t *testing.T) {
	simulate(t, 0, func(t *testing.T, p *simPair) {
		p.l.openers.Add(1)
		ended := make(chan error, 1)
		go func() { ended <- p.l.ep.Close(t.Context()) }()
		synctest.Wait()
		require.False(t, p.l.usable())
		require.Equal(t, session.StateOpen, p.s.State(), "not before it knows all")
		p.l.openers.Done()
		require.NoError(t, <-ended)
	})
}

// The idle timer runs on no link that has a session, on either side, nor on one
// that has ended; and one that runs out just then changes nothing.
func TestIdleTimerOfALinkInUse(t *testing.T) {
	for _, idle := range []bool{false, true} { // when it ends
		simulate(t, 0, func(t *testing.T, p *simPair) {
			for _, l := range []*link{p.l, onlyLink(p.peer)} {
				require.False(t, l.idle.Stop())
				l.closeIdle()
				require.True(t, l.usable())
			}
			if idle {
				require.NoError(t, p.s.Close(t.Context()))
				p.pass(time.Second)
				require.True(t, p.l.idle.Reset(linkIdleTimeout), "it runs")
			}
			p.l.close(closed(session.CodeNormal, "over"))
			<-p.l.done
			require.False(t, p.l.idle.Stop())
		})
	}
}

// An endpoint that is closed has nothing left that runs.
func TestShutdownWaitsForAllThatRuns(t *testing.T) {
	for name, waited := range map[string]func(*link) *sync.WaitGroup{
		"of a link":         func(l *link) *sync.WaitGroup { return &l.gone },
		"of the endpoint's": func(l *link) *sync.WaitGroup { return &l.ep.background },
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, 0, func(t *testing.T, p *simPair) {
				running := waited(p.l)
				running.Add(1)
				ended := make(chan error, 1)
				go func() { ended <- p.l.ep.Close(t.Context()) }()
				p.pass(time.Minute)
				require.Error(t, p.s.Err())
				require.Empty(t, ended, "not yet")
				running.Done()
				require.NoError(t, <-ended)
			})
		})
	}
}

// What an application closed by itself, and was not confirmed, is not in order.
func TestShutdownReportsAnUnconfirmedClose(t *testing.T) {
	simulate(t, 0, func(t *testing.T, p *simPair) {
		p.l.mu.Lock()
		r := p.l.sessions[p.s.ID()]
		p.l.mu.Unlock()
		ends := []ending{{r, r.Live()}}
		p.cut()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Error(t, p.s.Close(ctx))
		require.Equal(t, session.StateClosed, p.s.State())
		require.Error(t, closeAll(t.Context(), ends, ShutdownOptions{}).Err())
	})
}

// A link that ends while it is asked, ends for its own reason.
func TestAskedLinkThatEnds(t *testing.T) {
	for range 20 { // both goroutines may be the first
		simulate(t, 0, func(t *testing.T, p *simPair) {
			p.cut()
			p.l.ask()
			synctest.Wait()
			require.NoError(t, p.l.conn.CloseWithError(0x123, "of its own"))
			<-p.s.Done()
			wantIs(t, p.s.Err(), &session.Error{Cause: session.CauseLinkClosed, Code: 0x123})
		})
	}
}

// A link that is asked has a second, or three probe timeouts if that is longer.
func TestAskedLinkHasTimeToAnswer(t *testing.T) {
	for _, delay := range []time.Duration{0, 400 * time.Millisecond} {
		simulate(t, delay, func(t *testing.T, p *simPair) {
			limit := max(time.Second, 3*p.l.pto())
			require.Equal(t, delay > 0, limit > time.Second)
			p.l.ask()
			p.pass(limit)
			require.NoError(t, p.s.Err(), "it has answered")

			p.cut()
			limit = max(time.Second, 3*p.l.pto())
			began := time.Now()
			p.l.ask()
			<-p.s.Done()
			require.Equal(t, limit, time.Since(began))
			wantIs(t, p.s.Err(), &session.Error{Cause: session.CauseSuperseded, Code: session.CodeSuperseded})
		})
	}
}

// Pings under way are told apart, and end with the link, for its reason.
func TestPingsEndWithTheLink(t *testing.T) {
	simulate(t, 0, func(t *testing.T, p *simPair) {
		p.cut()
		ended := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := p.l.Ping(t.Context())
				ended <- err
			}()
		}
		synctest.Wait()
		require.Len(t, p.l.pings.waiting, 2)
		require.NotEqual(t, p.l.pings.waiting[0].token, p.l.pings.waiting[1].token)
		p.l.close(closed(session.CodeNormal, "over"))
		for range 2 {
			wantIs(t, <-ended, &session.Error{Cause: session.CauseLinkClosed})
		}
	})
}

// A link whose application pings more than is allowed may well be alive.
func TestAskedLinkWithTooManyPings(t *testing.T) {
	simulate(t, 10*time.Millisecond, func(t *testing.T, p *simPair) {
		p.l.pings.mu.Lock()
		for range maxPings {
			p.l.pings.waiting = append(p.l.pings.waiting, &pingWait{done: make(chan time.Time, 1)})
		}
		p.l.pings.mu.Unlock()
		p.l.ask()
		p.pass(10 * time.Second)
		require.NoError(t, p.s.Err())
	})
}

// What a session wrote last has three probe timeouts to arrive before the link of
// a peer that goes away is closed.
func TestUnprovenEndHasTimeToArrive(t *testing.T) {
	simulate(t, 50*time.Millisecond, func(t *testing.T, p *simPair) {
		l := p.l
		l.mu.Lock()
		clear(l.sessions) // it stays open, so that its end tells the link's
		l.away, l.unproven = &session.GoAway{}, time.Now()
		limit := 3 * l.pto()
		began := time.Now()
		l.endIfLast()
		l.mu.Unlock()
		<-l.conn.Context().Done()
		require.Equal(t, limit, time.Since(began))
	})
}
