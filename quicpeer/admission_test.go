package quicpeer

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func udp(s string) net.Addr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

func TestSourceIsAnIPv4AddressOrAnIPv6Site(t *testing.T) {
	same := func(a, b string) bool { return source(udp(a)) == source(udp(b)) }
	require.True(t, same("192.0.2.1:1", "192.0.2.1:2"), "ports do not count")
	require.True(t, same("192.0.2.1:1", "[::ffff:192.0.2.1]:1"), "IPv4-mapped is IPv4")
	require.False(t, same("192.0.2.1:1", "192.0.2.2:1"))
	require.True(t, same("[2001:db8::1]:1", "[2001:db8::ffff:0:0:1]:1"), "one /64")
	require.False(t, same("[2001:db8::1]:1", "[2001:db8:0:1::1]:1"))
	require.True(t, same("[fe80::1%eth0]:1", "[fe80::1]:1"), "the zone does not count")
	require.False(t, source(&net.UnixAddr{Name: "x"}).IsValid())
}

func TestAdmissionCountsLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(Limits{Links: 3, LinksPerAddress: 2})
		one, two := source(udp("192.0.2.1:1")), source(udp("192.0.2.2:1"))
		release, err := a.take(one)
		require.NoError(t, err)
		_, err = a.take(one)
		require.NoError(t, err)
		_, err = a.take(one)
		require.ErrorIs(t, err, errTooManyLinks, "two of one address")
		_, err = a.take(two)
		require.NoError(t, err)
		_, err = a.take(netip.Prefix{})
		require.ErrorIs(t, err, errTooManyLinks, "three in all, dialed ones too")
		time.Sleep(2 * shortestPlace)
		release()
		synctest.Wait()
		_, err = a.take(one)
		require.NoError(t, err)
	})
}

// Handshakes that fail at once, and links that are left at once, take up their
// address's place for a while, but nobody else's.
func TestPlacesOfAnAddressAreTakenForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(Limits{Links: 3, LinksPerAddress: 2})
		one, two := source(udp("192.0.2.1:1")), source(udp("192.0.2.2:1"))
		took := 0
		for range 1000 {
			if release, err := a.take(one); err == nil {
				took++
				release()
			}
			time.Sleep(10 * time.Millisecond)
		}
		require.Equal(t, 20, took, "two a second, for ten seconds")
		require.Zero(t, a.links, "they count for the endpoint only while they are there")
		for range 2 {
			_, err := a.take(two)
			require.NoError(t, err)
		}
	})
}

func TestAdmissionForgetsAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(Limits{Links: -1, LinksPerAddress: 1})
		for i := range 100 {
			release, err := a.take(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32))
			require.NoError(t, err)
			release()
		}
		time.Sleep(shortestPlace)
		synctest.Wait()
		require.Empty(t, a.from)
		require.Zero(t, a.links)
	})
}

func TestNewcomersProveTheirAddressWhenThereAreMany(t *testing.T) {
	a := newAdmission(Limits{HandshakesPerSecond: 10})
	now := time.Now()
	asked := func(n int) (proofs int) {
		for range n {
			if a.mustProve(now, netip.Prefix{}) {
				proofs++
			}
		}
		return proofs
	}
	require.Equal(t, 0, asked(10), "a burst of a second's worth")
	require.Equal(t, 5, asked(5), "the bucket is empty")
	now = now.Add(500 * time.Millisecond)
	require.Equal(t, 2, asked(7), "five more after half a second")
	now = now.Add(time.Hour)
	require.Equal(t, 1, asked(11), "it never holds more than a second's worth")
	a = newAdmission(Limits{HandshakesPerSecond: -1})
	require.Equal(t, 0, asked(1000), "never ask")
}

// Addresses can be forged, those of honest peers too. What a forger can take up
// leaves room for whoever really has the address.
func TestSecondHalfOfThePlacesIsForProvenAddresses(t *testing.T) {
	now := time.Now()
	one, two := source(udp("192.0.2.1:1")), source(udp("192.0.2.2:1"))
	a := newAdmission(Limits{Links: 10, LinksPerAddress: 4, HandshakesPerSecond: 1000})
	take := func(src netip.Prefix, n int) {
		for range n {
			_, err := a.take(src)
			require.NoError(t, err)
		}
	}
	take(one, 1)
	require.False(t, a.mustProve(now, one))
	take(one, 1)
	require.True(t, a.mustProve(now, one), "half of the address's places")
	require.False(t, a.mustProve(now, two), "of that address only")
	take(one, 2) // proven ones
	take(netip.Prefix{}, 1)
	require.True(t, a.mustProve(now, two), "half of all places")
	_, err := a.take(two)
	require.NoError(t, err, "whoever has proved its address is let in")

	a = newAdmission(Limits{Links: 1, LinksPerAddress: 1, HandshakesPerSecond: 1})
	require.False(t, a.mustProve(now, one), "the first of a limit of one need not prove anything")
	a = newAdmission(Limits{Links: -1, LinksPerAddress: -1, HandshakesPerSecond: 1})
	take(one, 100)
	require.False(t, a.mustProve(now, one), "no limit, no half")
}
