package integration_test

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/quicpeer"
)

// portOf returns the port of an address.
func portOf(t testing.TB, a net.Addr) string {
	t.Helper()
	_, port, err := net.SplitHostPort(a.String())
	require.NoError(t, err)
	return port
}

func TestPortZeroIsAssigned(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", ":0"} {
		e := startPeer(t, address, nil)
		ap, err := netip.ParseAddrPort(e.Addr().String())
		require.NoError(t, err)
		require.NotZero(t, ap.Port(), address)
	}
}

func TestRemoteSeesListeningPortAsSource(t *testing.T) {
	ctx := within(t, 10*time.Second)
	a, b := startPeer(t, "127.0.0.1:0", nil), startPeer(t, "127.0.0.1:0", nil)
	dialed, accepted := dialOpen(ctx, t, a, b)
	require.Equal(t, a.Addr().String(), accepted.RemoteAddr().String(), "what the acceptor sees")
	require.Equal(t, b.Addr().String(), dialed.RemoteAddr().String(), "what the dialer sees")
	require.Equal(t, a.Addr().String(), dialed.LocalAddr().String())
	require.Equal(t, b.Addr().String(), accepted.LocalAddr().String())

	// So the acceptor can dial back to where the session came from.
	back, came := dialAt(ctx, t, b, a, accepted.RemoteAddr().String())
	require.Equal(t, b.Addr().String(), came.RemoteAddr().String())
	require.Equal(t, a.Addr().String(), back.RemoteAddr().String())
}

func TestIPv4AndIPv6Together(t *testing.T) {
	skipWithoutIPv6(t)
	ctx := within(t, 10*time.Second)
	server := startPeer(t, ":0", nil)
	client := startPeer(t, ":0", nil)
	port, clientPort := portOf(t, server.Addr()), portOf(t, client.Addr())
	for _, host := range []string{"127.0.0.1", "::1"} {
		dialed, accepted := dialAt(ctx, t, client, server, net.JoinHostPort(host, port))
		require.Equal(t, net.JoinHostPort(host, port), dialed.RemoteAddr().String())
		require.Equal(t, net.JoinHostPort(host, clientPort), accepted.RemoteAddr().String(), "one port, both families")
		go echoSession(accepted)
		exchange(ctx, t, dialed, "over "+host)
	}
	require.Len(t, server.Links(), 2)
	require.Equal(t, port, portOf(t, server.Addr()))

	// An endpoint of one family is dialed by that family alone.
	v4 := startPeer(t, "127.0.0.1:0", nil)
	_, err := v4.Dial(ctx, net.JoinHostPort("::1", port), dialChat())
	require.ErrorContains(t, err, "IP version")
}

func skipWithoutIPv6(t testing.TB) {
	pc, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6 loopback address: %v", err)
	}
	require.NoError(t, pc.Close())
}

func TestAnswersOnTheSameSession(t *testing.T) {
	ctx := within(t, 10*time.Second)
	a, b := startPeer(t, "127.0.0.1:0", nil), startPeer(t, "127.0.0.1:0", nil)
	dialed, accepted := dialOpen(ctx, t, a, b)

	require.NoError(t, dialed.Send(ctx, []byte("question")))
	question, err := accepted.Receive(ctx)
	require.NoError(t, err)
	require.Equal(t, "question", string(question))
	require.NoError(t, accepted.Send(ctx, []byte("answer")))
	answer, err := dialed.Receive(ctx)
	require.NoError(t, err)
	require.Equal(t, "answer", string(answer))

	// And by signals.
	signalled := make(chan error, 1)
	go func() { signalled <- accepted.Signal(ctx, []byte("signal")) }()
	signal, err := dialed.ReceiveSignal(ctx)
	require.NoError(t, err)
	require.Equal(t, "signal", string(signal))
	require.NoError(t, <-signalled)

	require.Len(t, a.Sessions(), 1)
	require.Len(t, b.Sessions(), 1)
	require.Len(t, b.Links(), 1, "the answer took the link that the question came by")
}

func TestDialsManyServersFromTheListeningPort(t *testing.T) {
	ctx := within(t, 20*time.Second)
	hub := startPeer(t, "127.0.0.1:0", nil)
	echo(hub)
	const servers = 10
	for range servers {
		server := startPeer(t, "127.0.0.1:0", nil)
		dialed, accepted := dialOpen(ctx, t, hub, server)
		require.Equal(t, hub.Addr().String(), accepted.RemoteAddr().String())
		go echoSession(accepted)
		exchange(ctx, t, dialed, "as a client")
	}
	// All the while it is a server on the same port.
	for range servers {
		s, err := startPeer(t, "127.0.0.1:0", nil).Dial(ctx, hub.Addr().String(), dialChat())
		require.NoError(t, err)
		exchange(ctx, t, s, "as a server")
	}
	require.Len(t, hub.Links(), 2*servers)
}

func TestPortInUseNamesTheRemedy(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", ":0"} {
		e := startPeer(t, address, nil)
		_, err := quicpeer.Listen(e.Addr().String(), nil)
		wantErrorIs(t, err, syscall.EADDRINUSE)
		require.ErrorContains(t, err, e.Addr().String())
		require.ErrorContains(t, err, "port 0")
	}
}

func TestHostNameDialed(t *testing.T) {
	ctx := within(t, 10*time.Second)
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", "localhost")
	if err != nil {
		t.Skipf("this machine does not know localhost: %v", err)
	}
	t.Logf("localhost is %v", ips)
	e := startPeer(t, ":0", nil)
	dialed, accepted := dialAt(ctx, t, startPeer(t, ":0", nil), e, "localhost:"+portOf(t, e.Addr()))
	go echoSession(accepted)
	exchange(ctx, t, dialed, "by name")
}

// A name has addresses of both families, and the peer can be reached by only
// one of them: Dial finds it, whichever it is.
func TestHostNameRacesBothFamilies(t *testing.T) {
	skipWithoutIPv6(t)
	resolveTo(t, "both.test", "127.0.0.1", "::1")
	for _, host := range []string{"127.0.0.1", "::1"} {
		ctx := within(t, 10*time.Second)
		e := startPeer(t, net.JoinHostPort(host, "0"), nil)
		port := portOf(t, e.Addr())
		start := time.Now()
		dialed, accepted := dialAt(ctx, t, startPeer(t, ":0", nil), e, "both.test:"+port)
		t.Logf("found at %v in %v", dialed.RemoteAddr(), time.Since(start))
		require.Equal(t, net.JoinHostPort(host, port), dialed.RemoteAddr().String())
		go echoSession(accepted)
		exchange(ctx, t, dialed, "by name")
	}
}

// resolveTo makes this process's resolver ask a DNS server of the test, which
// knows one name. The caller does not run in parallel with others.
func resolveTo(t testing.TB, name string, ips ...string) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := answerDNS(buf[:n], name, ips); answer != nil {
				_, _ = pc.WriteTo(answer, from)
			}
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		require.NoError(t, pc.Close())
		<-served
	})
}

// answerDNS answers a query (RFC 1035 section 4.1) for one name's A or AAAA
// records; any other name does not exist.
func answerDNS(query []byte, name string, ips []string) []byte {
	const header, typeA, typeAAAA = 12, 1, 28
	var asked string
	at := header
	for at < len(query) && query[at] != 0 {
		end := at + 1 + int(query[at])
		if end >= len(query) {
			return nil
		}
		if asked != "" {
			asked += "."
		}
		asked += string(query[at+1 : end])
		at = end
	}
	if at+5 > len(query) {
		return nil
	}
	qtype := int(query[at+1])<<8 | int(query[at+2])
	question := query[header : at+5]
	var records []byte
	count := byte(0)
	rcode := byte(3) // no such name
	if asked == name {
		rcode = 0
		for _, text := range ips {
			ip := netip.MustParseAddr(text)
			if ip.Is4() && qtype != typeA || ip.Is6() && qtype != typeAAAA {
				continue
			}
			raw := ip.AsSlice()
			records = append(records, 0xc0, header) // the name, as asked
			records = append(records, question[len(question)-4:]...)
			records = append(records, 0, 0, 0, 60, 0, byte(len(raw)))
			records = append(records, raw...)
			count++
		}
	}
	answer := append([]byte(nil), query[:2]...)
	answer = append(answer, 0x81, 0x80|rcode, 0, 1, 0, count, 0, 0, 0, 0)
	answer = append(answer, question...)
	return append(answer, records...)
}

func TestListenRefusesWhatIsNoAddress(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1", "127.0.0.1:" + strconv.Itoa(1<<16), "127.0.0.1:http"} {
		_, err := quicpeer.Listen(address, nil)
		require.ErrorContains(t, err, "quicpeer: listen on", address)
	}
}
