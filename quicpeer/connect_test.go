package quicpeer

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/session"
)

func addrs(s ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range s {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

func TestInterleaveAlternatesFamilies(t *testing.T) {
	var ips []netip.Addr
	for _, s := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"} {
		ips = append(ips, netip.MustParseAddr(s))
	}
	var got []string
	for _, ip := range interleave(ips) {
		got = append(got, ip.String())
	}
	require.Equal(t, []string{"2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"}, got)
}

// A path is how one address answers in a race.
type path struct {
	after time.Duration
	err   error
}

// An outcome is what came of a race.
type outcome struct {
	won       string
	err       error
	took      time.Duration
	begun     map[string]time.Duration // when each address was dialed
	discarded int32
}

// runRace races the paths, named by their addresses.
func runRace(paths map[string]path, order ...string) outcome {
	start := time.Now()
	begun := make(map[string]time.Duration)
	var mu sync.Mutex
	var thrown atomic.Int32
	dial := func(ctx context.Context, a netip.AddrPort) (string, error) {
		mu.Lock()
		begun[a.String()] = time.Since(start)
		mu.Unlock()
		p := paths[a.String()]
		select {
		case <-time.After(p.after):
		case <-ctx.Done():
			if p.err == nil && p.after == time.Hour {
				return "late", nil // it succeeded just when it was told to stop
			}
			return "", ctx.Err()
		}
		return a.String(), p.err
	}
	won, _, err := race(context.Background(), addrs(order...), dial, func(string) { thrown.Add(1) })
	took := time.Since(start)
	synctest.Wait()
	return outcome{won, err, took, begun, thrown.Load()}
}

func TestRaceStartsTheNextWhenTheLastIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := runRace(map[string]path{
			"[2001:db8::1]:1": {after: time.Hour},
			"192.0.2.1:1":     {after: 30 * time.Millisecond},
		}, "[2001:db8::1]:1", "192.0.2.1:1")
		require.NoError(t, o.err)
		require.Equal(t, "192.0.2.1:1", o.won)
		require.Equal(t, attemptDelay, o.begun["192.0.2.1:1"], "RFC 8305: 250 ms after the first")
		require.Equal(t, attemptDelay+30*time.Millisecond, o.took)
		require.EqualValues(t, 1, o.discarded, "the loser that got through is closed")
	})
}

func TestRaceStartsTheNextWhenTheLastFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := runRace(map[string]path{
			"192.0.2.1:1": {after: 10 * time.Millisecond, err: errors.New("unreachable")},
			"192.0.2.2:1": {after: 10 * time.Millisecond},
		}, "192.0.2.1:1", "192.0.2.2:1")
		require.NoError(t, o.err)
		require.Equal(t, "192.0.2.2:1", o.won)
		require.Equal(t, 20*time.Millisecond, o.took)
	})
}

func TestRaceTellsEveryFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := errors.New("first"), errors.New("second")
		o := runRace(map[string]path{
			"192.0.2.1:1": {err: a},
			"192.0.2.2:1": {err: b},
		}, "192.0.2.1:1", "192.0.2.2:1")
		require.ErrorIs(t, o.err, a)
		require.ErrorIs(t, o.err, b)
		require.ErrorContains(t, o.err, "192.0.2.2:1")
	})
}

// Each address has its 250 ms, also the third.
func TestRaceStartsOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := runRace(map[string]path{
			"192.0.2.1:1": {after: time.Minute},
			"192.0.2.2:1": {after: time.Minute},
			"192.0.2.3:1": {after: 30 * time.Millisecond},
		}, "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1")
		require.NoError(t, o.err)
		require.Equal(t, map[string]time.Duration{"192.0.2.1:1": 0, "192.0.2.2:1": attemptDelay, "192.0.2.3:1": 2 * attemptDelay}, o.begun)
	})
}

// A dial that is given up ends the handshake if no other waits for it, and then
// the next dial gets one of its own. One that has taken its place meanwhile stays.
func TestDialThatIsGivenUp(t *testing.T) {
	e := listenChat(t, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	key := dialKey{address: "192.0.2.1:1"}
	for _, c := range []struct{ others, cancels int }{{0, 1}, {1, 0}, {2, 0}} {
		cancels := 0
		shared := &connecting{cancel: func() { cancels++ }, waiting: c.others}
		e.dials[key] = shared
		_, err := e.linkTo(ctx, key.address, "192.0.2.1", 1, &DialOptions{})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, c.cancels, cancels, "%d others wait", c.others)
		require.Equal(t, c.others, shared.waiting)
		require.Equal(t, c.cancels == 0, e.dials[key] == shared)
	}

	other := &connecting{cancel: func() {}}
	shared := &connecting{cancel: func() {}}
	shared.cancel = func() { e.dials[key] = other } // under the lock, as it is called
	e.dials[key] = shared
	_, err := e.linkTo(ctx, key.address, "192.0.2.1", 1, &DialOptions{})
	require.ErrorIs(t, err, context.Canceled)
	require.Same(t, other, e.dials[key])
	delete(e.dials, key)
}

// A context that ends has nothing to do with the endpoint.
func TestDialWithTrustOfItsOwnIsGivenUp(t *testing.T) {
	e := listenChat(t, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := e.Dial(ctx, "127.0.0.1:9", &DialOptions{Trust: certs.Anyone()})
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, ErrEndpointClosed)
}

// Dials that fail, and links that have ended, leave their places to others.
func TestDialsGiveTheirPlaceBack(t *testing.T) {
	e, peer := listenChat(t, Config{Limits: Limits{Links: 1}}), listenChat(t, Config{})
	acceptAll(peer)
	ctx := within(t, 10*time.Second)
	over, cancel := context.WithCancel(ctx)
	cancel()
	for range 2 {
		_, err := e.Dial(ctx, "[::1]:1", nil)
		require.ErrorContains(t, err, "IP version differs")
		_, err = e.Dial(over, "127.0.0.1:9", &DialOptions{Trust: certs.Anyone()})
		require.ErrorIs(t, err, context.Canceled)
		_, err = dialChat(ctx, e, peer.Addr())
		require.NoError(t, err)
		_, err = e.Dial(ctx, "127.0.0.1:9", nil)
		require.ErrorIs(t, err, ErrLimit, "there is one")
		l := onlyLink(e)
		l.close(closed(session.CodeNormal, "over"))
		<-l.done
		until(t, "the place is free", func() bool {
			e.admission.mu.Lock()
			defer e.admission.mu.Unlock()
			return e.admission.links == 0
		})
	}
}

func TestSplitAddressSaysWhatIsWrong(t *testing.T) {
	host, port, err := splitAddress("[::1]:4433")
	require.NoError(t, err)
	require.Equal(t, "::1", host)
	require.EqualValues(t, 4433, port)
	for address, want := range map[string]string{
		"example.org":       "want host:port",
		":4433":             "no host",
		"example.org:0":     "not a number from 1 to 65535",
		"example.org:70000": "not a number from 1 to 65535",
		"example.org:https": "not a number from 1 to 65535",
	} {
		_, _, err := splitAddress(address)
		require.ErrorContains(t, err, want, address)
	}
}
