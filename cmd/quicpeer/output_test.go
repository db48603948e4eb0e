package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

func TestPrinterKeepsLinesWhole(t *testing.T) {
	out := newRecord()
	p := &printer{out: out, err: out}
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			for range 50 {
				p.linef("%s", strings.Repeat(string(rune('a'+i)), 100))
				_, _ = errorLog{p}.Write([]byte(strings.Repeat(string(rune('A'+i)), 100) + "\n"))
			}
		})
	}
	writers.Wait()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 800)
	for _, l := range lines {
		require.Equal(t, strings.Repeat(l[:1], 100), l)
	}
}

func TestPrinterKeepsThePromptBelow(t *testing.T) {
	out, errs := newRecord(), newRecord()
	p := &printer{out: out, err: errs}
	p.linef("before")
	p.setPrompt("> ")
	p.linef("line")
	p.errorf("error")
	p.setPrompt("")
	p.linef("after")
	want := []string{"before\n", "> ", erase, "line\n", "> ", erase, "> ", erase, "after\n"}
	require.Equal(t, strings.Join(want, ""), out.String())
	require.Equal(t, "error\n", errs.String())
}

func TestCleanLeavesNothingToTheTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"plain":            "plain",
		"tab\tand ünïcode": "tab\tand ünïcode",
		"a\nb\rc":          `a\nb\rc`,
		"\x1b[2J":          `\u{1b}[2J`,
		"\u202eevil":       `\u{202e}evil`,
		"\xff":             "\uFFFD",
		"\u009b31m":        `\u{9b}31m`,
	} {
		require.Equal(t, want, clean(in))
	}
}

func TestRefusalsAreToldOnlySoOften(t *testing.T) {
	var r refusals
	now := time.Unix(1000, 0)
	untold, tell := r.count(now)
	require.True(t, tell)
	require.Zero(t, untold)
	for range 5 {
		_, tell = r.count(now.Add(refusalInterval / 2))
		require.False(t, tell)
	}
	untold, tell = r.count(now.Add(refusalInterval))
	require.True(t, tell)
	require.Equal(t, 5, untold)
}

func TestExplainNamesCauseAndRemedy(t *testing.T) {
	own, _ := peerOf(t)
	other, _ := peerOf(t)
	for _, c := range []struct {
		err           error
		cause, remedy string
	}{
		{quicpeer.ErrNoDatagrams, "does not offer datagrams", "switch them on"},
		{fmt.Errorf("%w: more", quicpeer.ErrRefused), "does not trust this identity", "/trust " + own.ID.String()},
		{quicpeer.ErrWrongProtocol, "does not speak quicpeer/1", "check address and port"},
		{fmt.Errorf("%w: x", quicpeer.ErrOutcomeUnknown), "lost before the peer answered", "other side"},
		{&net.DNSError{Name: "nowhere", Err: "no such host"}, `"nowhere" cannot be resolved`, "spelling"},
		{&certs.UntrustedError{Peer: other.ID, Want: own.ID.String()}, "answers is " + other.ID.String(), "#" + other.ID.String()},
		{&certs.UntrustedError{Peer: other.ID, Err: &certs.KeyChangedError{Name: "a:1", Known: own.ID, Got: other.ID, Path: "file", Line: 3}}, "file:3 has " + own.ID.String(), "remove line 3"},
		{&session.Error{Cause: session.CauseRejected, Code: session.CodeRefused, Reason: "no\x1b", Remote: true}, `(refused): no\u{1b}`, "quicpeer run"},
		{&session.Error{Cause: session.CauseRejected, Code: session.CodeBusy, Remote: true, RetryAfter: time.Minute}, "(busy)", "1m0s"},
		{&session.Error{Cause: session.CauseRejected, Code: session.CodeBusy, Remote: true}, "(busy)", "later"},
		{errors.New("quicpeer: something else"), "a:1: something else", ""},
	} {
		cause, remedy := explain(fmt.Errorf("wrapped: %w", &quicpeer.DialError{Address: "a:1", Err: c.err}), own.ID)
		require.Contains(t, cause, c.cause)
		require.Contains(t, cause, "a:1")
		require.Contains(t, remedy, c.remedy)
	}
}

func TestExplainLeavesNothingToTheTerminal(t *testing.T) {
	hostile := errors.New("a\x1b[2J\r\nb")
	for _, err := range []error{hostile, &certs.UntrustedError{Err: hostile}} {
		cause, _ := explain(&quicpeer.DialError{Address: "a:1", Err: err}, certs.PeerID{})
		require.Contains(t, cause, `a\u{1b}[2J\r\nb`)
	}
}
