package integration_test

import (
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// secrets are what must not be shown, by what they are.
type secrets map[string][]byte

// forms are the ways in which bytes may be printed: as they are, or their
// middle in hexadecimal, as a list of numbers, or in base64 at any offset.
func forms(b []byte) []string {
	part := b[len(b)/4 : len(b)/4+min(12, len(b)/2)]
	list := func(format, separator string) string {
		var all []string
		for _, c := range part {
			all = append(all, fmt.Sprintf(format, c))
		}
		return strings.Join(all, separator)
	}
	all := []string{
		string(part), hex.EncodeToString(part), strings.ToUpper(hex.EncodeToString(part)),
		list("%02x", " "), list("%02X", ":"), list("%02x", ":"), list("%d", " "), list("%d", ","), list("%d", ", "), list("0x%x", ", "), list("%o", " "), list("%b", " "),
		strings.Trim(fmt.Sprintf("%q", part), `"`),
	}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			all = append(all, e.EncodeToString(part[shift:shift+9]))
		}
	}
	return all
}

// shownIn returns what of the secrets a text has in it.
func (s secrets) shownIn(text string) (found []string) {
	for what, secret := range s {
		for _, form := range forms(secret) {
			if strings.Contains(text, form) {
				found = append(found, fmt.Sprintf("%s as %.20q", what, form))
			}
		}
	}
	return found
}

// What a search cannot find, it cannot miss: a secret is found however it is
// shown.
func TestSecretsAreFound(t *testing.T) {
	secret := []byte("0\x81234\xfe567\x0089abcdefghijklm\xffnopqrs")
	s := secrets{"it": secret}
	require.Empty(t, s.shownIn("nothing"))
	type holder struct{ Key []byte }
	shown := map[string]string{}
	for _, format := range []string{"%v", "%+v", "%#v", "%d", "%x", "%X", "%s", "% x", "%o", "%b", "%q"} {
		shown[format] = fmt.Sprintf(format, secret)
		shown["array "+format] = fmt.Sprintf(format, [33]byte(append(secret, make([]byte, 33)...)[:33]))
		shown["struct "+format] = fmt.Sprintf(format, &holder{secret})
	}
	data, err := json.Marshal(holder{secret})
	require.NoError(t, err)
	shown["JSON"] = string(data)
	for shift := range 3 {
		shown[fmt.Sprint("base64 ", shift)] = base64.URLEncoding.EncodeToString(append(make([]byte, shift), secret...))
	}
	for how, text := range shown {
		require.NotEmpty(t, s.shownIn(text), "%s: %s", how, text)
	}
}

// transcript is everything that was shown, by whoever showed it.
type transcript struct{ safeBuffer }

// writerFunc hides what it writes to from those who print it.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// show prints a value in every way there is.
func (l *transcript) show(values ...any) {
	for _, v := range values {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%t", "%e"} {
			fmt.Fprintf(l, format+"\n", v)
		}
		data, _ := json.Marshal(v) // what cannot be marshaled is not shown
		_, _ = l.Write(data)
		slog.New(slog.NewTextHandler(l, nil)).Info("x", "value", v)
		slog.New(slog.NewJSONHandler(l, nil)).Info("x", "value", v)
	}
}

// keep adds the secrets of an identity that is bound to an address.
func (s secrets) keep(t *testing.T, who string, id *certs.Identity, bound net.Addr) {
	key, err := id.Certificate().PrivateKey.(*ecdsa.PrivateKey).Bytes()
	require.NoError(t, err)
	reset, token := id.ResetKey(bound.String()), id.TokenKey(bound.String())
	s[who+" private key"], s[who+" reset key"], s[who+" token key"] = key, reset[:], token[:]
}

// Endpoints that log everything go through success, refusal, violation, abort,
// loss and shutdown. What they have logged, written to qlog, returned as errors
// and counted has no key in it, neither their own nor those of TLS, and nothing
// of what the applications said to each other.
func TestNoSecretsAreShown(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		var logs, values, keyLog transcript
		text, asJSON := slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}), slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})
		qlogs := filepath.Join(t.TempDir(), "made", "as needed")
		found := secrets{}
		contents := secrets{ // long enough that no chance finds them
			"metadata": []byte("metadata of the OPEN, for the application alone"), "acceptance": []byte("metadata of the ACCEPT, for the application alone"),
			"message": []byte("a message that nobody else should be able to read"), "signal": []byte("a signal, just as private, to the other side"),
		}
		start := func(address string, handler slog.Handler, c quicpeer.Config) *peer {
			c.Identity, c.Logger, c.QLogDir, c.KeyLogWriter = newIdentity(t), slog.New(handler), qlogs, writerFunc(keyLog.Write)
			p := n.peer(t, address, c)
			found.keep(t, address, p.identity, p.addr)
			values.show(c, &c, *p.identity, p.identity)
			return p
		}
		// One that must see a Retry, so that there are its tokens.
		a := start("10.0.0.1:1000", text, quicpeer.Config{})
		b := start("10.0.0.2:1000", asJSON, quicpeer.Config{Limits: quicpeer.Limits{HandshakesPerSecond: 1}})
		h := n.raw(t, "10.0.0.3:1000")
		n.between(a.addr, b.addr, faults{delay: 5 * time.Millisecond})
		n.between(h.addr, b.addr, faults{delay: 5 * time.Millisecond})

		h.dial(b) // takes the handshake without a Retry
		o := quicpeer.DialOptions{Metadata: contents["metadata"]}
		accepted := make(chan *quicpeer.Session, 10)
		b.Handle(simProto, func(in *quicpeer.Incoming) {
			if s, err := in.Accept(contents["acceptance"]); err == nil {
				accepted <- s
			}
		})
		open := func() (s, r *quicpeer.Session) {
			s, err := a.dial(b, o)
			require.NoError(t, err)
			return s, <-accepted
		}
		s, r := open()
		talk := func(s, r *quicpeer.Session) {
			for range 3 {
				require.NoError(t, s.Send(t.Context(), contents["message"]))
				got, err := r.Receive(t.Context())
				require.NoError(t, err)
				require.Equal(t, contents["message"], got)
			}
			signaled := make(chan error, 1)
			go func() { signaled <- s.Signal(t.Context(), contents["signal"]) }()
			_, err := r.ReceiveSignal(t.Context())
			require.NoError(t, err)
			require.NoError(t, <-signaled)
		}
		talk(s, r)
		talk(r, s)
		aborted, other := open()
		_ = aborted.Abort(0x101)
		n.arrive()
		values.show(aborted.Err(), other.Err(), a.Links(), b.Links(), a.Stats(), b.Stats(), s.Stats(), r.Stats(), s.Snapshot())

		// Refusals of both sides, and what is no protocol.
		_, err := a.dial(b, quicpeer.DialOptions{PeerID: newIdentity(t).ID(), Metadata: contents["metadata"]})
		values.show(err)
		_, err = a.dial(b, quicpeer.DialOptions{Protocol: "not served", Metadata: contents["metadata"]})
		values.show(err)
		strict := start("10.0.0.4:1000", text, quicpeer.Config{Trust: certs.IDs(b.ID())})
		_, err = a.dial(strict, o)
		values.show(err)
		wild := h.dial(b)
		_, _ = wild.open(session.Open{Protocol: simProto, Metadata: contents["metadata"]}).Write([]byte{0x10, 1, 0})
		wild.writeLink(session.Open{Protocol: simProto, Metadata: contents["metadata"]})
		n.arrive()

		// Lost, revoked, shut down.
		lost, err := strict.dial(b, quicpeer.DialOptions{PeerID: b.ID(), Metadata: contents["metadata"]})
		require.NoError(t, err)
		<-accepted
		n.cut(strict.addr, b.addr)
		n.pass(30 * time.Second)
		values.show(lost.Err())
		revoked, _ := open()
		a.SetTrust(certs.IDs())
		n.arrive()
		values.show(revoked.Err(), r.Err(), s.Err())
		a.SetTrust(certs.Anyone())
		open()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		report, err := a.Shutdown(ctx, quicpeer.ShutdownOptions{Reason: "done"})
		closed := []error{a.Close(ctx), b.Close(ctx), strict.Close(ctx)}
		n.pass(time.Second)
		synctest.Wait()
		values.show(report, err, report.Err(), closed, a.Endpoint, b.Endpoint, strict.Endpoint) // nothing changes in them any more

		for line := range strings.Lines(keyLog.String()) {
			fields := strings.Fields(line)
			require.Len(t, fields, 3)
			secret, err := hex.DecodeString(fields[2])
			require.NoError(t, err)
			found[fields[0]+" "+fields[1][:8]] = secret
		}
		require.Greater(t, len(found), 20, "the secrets of several connections")
		shown := map[string]string{"logs": logs.String(), "values": values.String()}
		files, err := filepath.Glob(filepath.Join(qlogs, "*.sqlog"))
		require.NoError(t, err)
		require.Greater(t, len(files), 8)
		for _, file := range files {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			shown["qlog"] += string(data)
			info, err := os.Stat(file)
			require.NoError(t, err)
			require.True(t, runtime.GOOS == "windows" || info.Mode().Perm()&0o077 == 0, "%s: it has stateless reset tokens", file)
		}
		for _, has := range []string{"link up", "peer refused", "protocol violation", "not trusted any more", "link ended"} {
			require.Contains(t, shown["logs"], has)
		}
		require.Contains(t, shown["qlog"], "stateless_reset_token")
		require.Contains(t, shown["qlog"], `"retry"`)
		require.Contains(t, shown["values"], a.ID().String())
		for where, text := range shown {
			require.Empty(t, found.shownIn(text), where)
			if where != "values" { // a Config or DialOptions shows what is in it, but for keys
				require.Empty(t, contents.shownIn(text), where)
			}
		}
	})
}

// The text of a peer that is hostile in everything it says cannot fake a line
// of a log, or move a cursor in it.
func TestPeersTextInLogs(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		const hostile = "x\x1b[2J\r\nlevel=ERROR msg=fake\u202e\x00"
		var logs, values transcript
		handler := slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{Logger: slog.New(handler)})
		h := n.raw(t, "10.0.0.1:1000")
		n.between(b.addr, h.addr, faults{delay: 5 * time.Millisecond})

		p := h.dial(b)
		s, r := p.openAccepted(b)
		p.open(session.Open{Protocol: hostile, Metadata: []byte(hostile)})
		p.writeLink(session.GoAway{Code: 0x100, Reason: hostile})
		s.write(session.Close{Code: 0x100, Reason: hostile})
		n.arrive()
		fmt.Fprintln(&values, r.Err())
		_, err := b.dialContext(t.Context(), h.addr, quicpeer.DialOptions{PeerID: h.identity.ID()})
		fmt.Fprintln(&values, err)
		p = h.dial(b)
		_, r = p.openAccepted(b)
		_ = p.conn.CloseWithError(quic.ApplicationErrorCode(0x100), hostile)
		n.arrive()
		require.ErrorContains(t, r.Err(), "msg=fake")
		fmt.Fprintln(&values, r.Err())

		h.listen(nil)
		dialed := make(chan error, 1)
		go func() {
			_, err := b.dialContext(t.Context(), h.addr, quicpeer.DialOptions{})
			dialed <- err
		}()
		to := h.accept()
		answer, open := to.accept()
		require.Equal(t, simProto, open.Protocol)
		answer.write(session.Reject{Code: session.CodeBusy, Reason: hostile})
		err = <-dialed
		require.ErrorContains(t, err, "msg=fake")
		fmt.Fprintln(&values, err)

		for where, text := range map[string]string{"logs": logs.String(), "errors": values.String()} {
			require.Contains(t, text, "msg=fake", where)
			for line := range strings.Lines(text) {
				require.NotContains(t, line[:min(20, len(line))], "level=ERROR", "%s: a faked line", where)
				require.False(t, strings.ContainsAny(line, "\x1b\r\x00\u202e"), "%s: %q", where, line)
			}
		}
	})
}
