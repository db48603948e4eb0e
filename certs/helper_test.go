package certs

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const testALPN = "quicpeer-test"

func TestMain(m *testing.M) {
	// Tests across processes start this binary again, see child.
	if task := os.Getenv(childTask); task != "" {
		os.Exit(runChild(task))
	}
	os.Exit(m.Run())
}

// want fails the test unless ok.
func want(t *testing.T, ok bool, reason string, args ...any) {
	t.Helper()
	if !ok {
		t.Fatalf("want: "+reason, args...)
	}
}

func wantNoError(t *testing.T, err error, reason string) {
	t.Helper()
	if err != nil {
		t.Fatalf("want no error (%s), got: %v", reason, err)
	}
}

// wantError finds an E in err and returns it.
func wantError[E error](t *testing.T, err error, reason string) E {
	t.Helper()
	var e E
	if err == nil {
		t.Fatalf("want an error (%s), got none", reason)
	}
	if !errors.As(err, &e) {
		t.Fatalf("want a %T in it (%s), got %T: %v", e, reason, err, err)
	}
	return e
}

// wantText checks what a person is told. Code never does.
func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("want an error with %q, got none", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Fatalf("want %q in the error: %v", part, err)
		}
	}
}

func newIdentityForTest(t testing.TB) *Identity {
	t.Helper()
	id, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// peerOf is how others see id. name is "" for incoming.
func peerOf(id *Identity, name string) Peer {
	p, _ := PeerFromState(tls.ConnectionState{PeerCertificates: certificates(id)})
	p.Name, p.Incoming = name, name == ""
	return p
}

// write makes a file that only its owner can read.
func write(t testing.TB, name, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// outcome is a handshake as both sides saw it. The client's error includes
// what the server made of its certificate.
type outcome struct {
	client, server       tls.ConnectionState
	clientErr, serverErr error
}

// handshake runs one over a pipe.
func handshake(t testing.TB, client, server *tls.Config) outcome {
	t.Helper()
	a, b := net.Pipe()
	c, s := tls.Client(newBuffered(a), client), tls.Server(newBuffered(b), server)
	deadline := time.Now().Add(10 * time.Second)
	a.SetDeadline(deadline)
	b.SetDeadline(deadline)
	var o outcome
	done := make(chan struct{})
	go func() {
		defer close(done)
		if o.serverErr = s.Handshake(); o.serverErr == nil {
			o.server = s.ConnectionState()
			s.Write([]byte("x"))
		}
		s.NetConn().Close()
	}()
	if o.clientErr = c.Handshake(); o.clientErr == nil {
		o.client = c.ConnectionState()
		// In TLS 1.3 the client is done before the server has judged it.
		_, o.clientErr = c.Read(make([]byte, 1))
	}
	c.NetConn().Close()
	<-done
	return o
}

// buffered lets both ends of a pipe write at once, as an alert may cross the
// rest of a flight.
type buffered struct {
	net.Conn
	out  chan []byte
	done chan struct{}
}

func newBuffered(conn net.Conn) *buffered {
	b := &buffered{Conn: conn, out: make(chan []byte, 64), done: make(chan struct{})}
	go func() {
		defer close(b.done)
		for data := range b.out {
			b.Conn.Write(data)
		}
	}()
	return b
}

func (b *buffered) Write(data []byte) (int, error) {
	b.out <- append([]byte(nil), data...)
	return len(data), nil
}

// Close delivers what was written first.
func (b *buffered) Close() error {
	close(b.out)
	<-b.done
	return b.Conn.Close()
}
