package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/quicpeer/faultnet"
)

// listener is a peer that was started with run and waits for others.
type listener struct {
	*process
	id, address string
}

func listen(t *testing.T, args ...string) listener {
	t.Helper()
	p := start(t, "", append([]string{"run", "--listen", "127.0.0.1:0"}, args...)...)
	m := p.want("address and id", `reached by quicpeer run --dial '(127\.0\.0\.1:\d+)#([a-z2-7]{52})'`)
	return listener{p, m[2], m[1]}
}

func TestRunTalksBothWaysAndConfirmsTheEnd(t *testing.T) {
	t.Parallel()
	config, id := identity(t)
	key := filepath.Join(config, "key.pem")
	a := listen(t, "--trust", id, "--ephemeral")
	b := start(t, config, "run", "--identity", key, "--dial", a.address+"#"+a.id)
	b.want("the session", `^\* session 1: peer `+a.id+` at .* has accepted it$`)
	a.want("the session", `^\* session 1: peer `+id+` at .* has opened it$`)

	b.say("hello from b", "/signal ready?", "//slash", "beep\a", "/stats", "/list", "/ping", "/id", "/help")
	a.want("b's line", `^\[1 `+id[:8]+`\] hello from b$`)
	a.want("b's signal", `^\[1 `+id[:8]+`\] signal: ready\?$`)
	a.want("an escaped slash", `\] /slash$`)
	a.want("no control characters", `\] beep\\u\{7\}$`)
	b.want("the signal's confirmation", `^\* session 1: the peer has taken the signal$`)
	b.want("statistics", `^  signals   1 sent, 1 of them taken; 0 received$`)
	b.want("the list", `^    1  peer `+a.id+`  127\.0\.0\.1:\d+  dialed, open$`)
	b.want("a round trip", `the peer answered after`)
	b.want("its own id", `^\* you are peer `+id+`$`)
	b.want("the commands", `/dial HOST:PORT`)
	a.say("hello from a", "/to 1 for you alone")
	b.want("a's line", `^\[1 `+a.id[:8]+`\] hello from a$`)
	b.want("a's line to b", `\] for you alone$`)

	b.endInput()
	out := b.wantExit("all confirmed", exitOK)
	require.Contains(t, out, "* session 1: closed, and the peer confirmed: code 0x0, \"end of input\"\n  lost: 0 of your 3 messages, 0 of the peer's 2\n")
	a.want("b's end", `^\* session 1: the peer closed it: code 0x0, "end of input"\n  lost: 0 of your 2 messages, 0 of the peer's 3$`)
	a.endInput()
	a.wantExit("nothing open", exitOK)
}

func TestRunSendsAllOfItsInput(t *testing.T) {
	t.Parallel()
	a := listen(t, "--trust", "anyone", "--ephemeral")
	b := start(t, "", "run", "--ephemeral", "--dial", a.address)
	b.say("one", "two", "/signal three")
	b.endInput()
	b.wantExit("all confirmed", exitOK)
	for _, text := range []string{"one", "two", "signal: three"} {
		a.want("the whole input", `\] `+text+`$`)
	}
	a.want("the end", `0 of the peer's 2$`)
}

func TestRunListenerKeepsPipedTextForTheFirstPeer(t *testing.T) {
	t.Parallel()
	a := listen(t, "--trust", "anyone", "--ephemeral")
	a.say("welcome")
	a.endInput()
	b := start(t, "", "run", "--ephemeral", "--dial", a.address)
	b.want("what was piped before", `\] welcome$`)
	b.want("the end", `the peer closed it: code 0x0, "end of input"`)
	a.wantExit("all confirmed", exitOK)
}

func TestRunClosesWithCodeAndReason(t *testing.T) {
	t.Parallel()
	a := listen(t, "--trust", "anyone", "--ephemeral")
	b := start(t, "", "run", "--ephemeral")
	b.say("/dial "+a.address, "/dial "+a.address)
	a.want("two sessions", `session 2: .* has opened it$`)
	b.want("two sessions", `session 2: .* has accepted it$`)
	b.say("/close", "/close 1 0x2a bad", "/close 1 0x12a see you later", "/close 2 300")
	b.want("a question", `2 sessions are open: /close N or /close all`)
	b.want("a refusal of the protocol's codes", `the code 0x2a belongs to the protocol`)
	b.want("a confirmation", `^\* session 1: closed, and the peer confirmed: code 0x12a, "see you later"$`)
	a.want("code and reason", `^\* session 1: the peer closed it: code 0x12a, "see you later"$`)
	a.want("code alone", `^\* session 2: the peer closed it: code 0x12c$`)
	b.say("/quit")
	b.wantExit("lines have failed", exitFailure)
}

func TestRunWaitsForRepliesIfAsked(t *testing.T) {
	t.Parallel()
	a := listen(t, "--trust", "anyone", "--ephemeral")
	b := start(t, "", "run", "--ephemeral", "--dial", a.address, "--wait", "1m")
	b.say("question")
	b.endInput()
	a.want("the question", `\] question$`)
	a.say("answer", "/close 1")
	b.wantExit("the session is over", exitOK)
	b.want("the answer", `\] answer$`)
}

// severable returns another address of a peer, that can be cut off from it.
func severable(t *testing.T, address string) (severed string, cut func()) {
	t.Helper()
	relay, err := faultnet.Start(t.Context(), address, nil)
	require.NoError(t, err)
	cut = func() { require.NoError(t, relay.Close()) }
	t.Cleanup(cut)
	return relay.Addr().String(), cut
}

func TestRunTellsOfAPeerThatDoesNotConfirm(t *testing.T) {
	t.Parallel()
	a := listen(t, "--trust", "anyone", "--ephemeral")
	address, cut := severable(t, a.address)
	b := start(t, "", "run", "--ephemeral", "--dial", address, "--close-timeout", "300ms")
	b.want("the session", `has accepted it$`)
	cut()
	b.say("anybody there?")
	b.endInput()
	out := b.wantExit("not confirmed", exitFailure)
	require.Contains(t, out, "closed, but the peer DID NOT CONFIRM")
	require.Contains(t, out, "what was lost is not known")
}

func TestRunRefusesStrangers(t *testing.T) {
	t.Parallel()
	config, id := identity(t)
	key := filepath.Join(config, "key.pem")
	a := listen(t) // trusts those it has dialed before, that is nobody
	out := command(t, config, exitFailure, "run", "--identity", key, "--dial", a.address)
	require.Contains(t, out, "the peer does not trust this identity")
	require.Contains(t, out, "/trust "+id, "the remedy")
	a.want("a note", `a peer was turned away, since it is not trusted: `+id)
	a.say("/trust " + id)
	a.want("trust", `trusted from now on`)
	b := start(t, config, "run", "--identity", key, "--dial", a.address)
	b.want("a session", `session 1: `)
}

func TestRunTellsBothIDsOfAWrongPeer(t *testing.T) {
	t.Parallel()
	a := listen(t, "--trust", "anyone", "--ephemeral")
	_, other := identity(t)
	out := command(t, "", exitFailure, "run", "--ephemeral", "--dial", a.address+"#"+other)
	require.Contains(t, out, "the peer that answers is "+a.id)
	require.Contains(t, out, "wanted is "+other)
}

func TestRunNoticesAChangedKey(t *testing.T) {
	t.Parallel()
	a := listen(t, "--trust", "anyone", "--ephemeral")
	known := "known:" + filepath.Join(t.TempDir(), "known_peers")
	command(t, "", exitOK, "run", "--ephemeral", "--trust", known, "--dial", a.address)
	command(t, "", exitOK, "run", "--ephemeral", "--trust", known, "--dial", a.address)
	a.endInput()
	a.wantExit("nothing open", exitOK)
	b := start(t, "", "run", "--ephemeral", "--trust", "anyone", "--listen", a.address)
	id := b.want("another key at the same address", `you are peer (\w+)`)[1]
	out := command(t, "", exitFailure, "run", "--ephemeral", "--trust", known, "--dial", a.address)
	require.Contains(t, out, "HAS CHANGED")
	require.Contains(t, out, a.id)
	require.Contains(t, out, id)
	require.Contains(t, out, "remove line 1")
}

func TestRunExplainsAPortInUse(t *testing.T) {
	t.Parallel()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer c.Close()
	address := c.LocalAddr().String()
	out := command(t, "", exitFailure, "run", "--ephemeral", "--listen", address)
	require.Contains(t, out, address)
	require.Contains(t, out, "in use")
}

func TestRunExplainsASilentAddress(t *testing.T) {
	t.Parallel()
	c, err := net.ListenPacket("udp", "127.0.0.1:0") // reads nothing
	require.NoError(t, err)
	defer c.Close()
	out := command(t, "", exitFailure, "run", "--ephemeral", "--dial", c.LocalAddr().String(), "--timeout", "200ms")
	require.Contains(t, out, "nobody answers")
	require.Contains(t, out, "firewall")
}

func TestRunKeepsIdentityAndLogs(t *testing.T) {
	t.Parallel()
	config, qlog := t.TempDir(), filepath.Join(t.TempDir(), "qlog")
	a := listen(t, "--trust", "anyone", "--ephemeral")
	first := start(t, config, "run", "--dial", a.address, "--log", "info", "--qlog", qlog)
	id := first.want("a new identity", `you are peer (\w+)\n  identity   new, kept in .*identity\.pem`)[1]
	first.endInput()
	require.Contains(t, first.wantExit("all confirmed", exitOK), `level=INFO msg="link up"`)
	files, err := os.ReadDir(qlog)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	require.Contains(t, command(t, config, exitOK, "run"), "you are peer "+id+"\n  identity   kept in")
	require.Contains(t, command(t, config, exitOK, "id"), id)
}
