package main

import (
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/quicpeer/faultnet"
)

// takePort holds a UDP port of all addresses until the test is over.
func takePort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenUDP("udp", nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c.LocalAddr().(*net.UDPAddr).Port
}

func TestDemoProvesItself(t *testing.T) {
	t.Parallel()
	taken := takePort(t)
	out := command(t, "", exitOK, "demo", "--ports", strconv.Itoa(taken)+",0", "--loss", "10")
	require.Contains(t, out, "cannot have that port", "the port that is taken is left alone")
	require.Regexp(t, `bob    alice closed the session over IPv4: code 0x101, "goodbye bob, this was IPv4"\n +lost: \d+ of alice's 500 messages, \d+ of bob's 500`, out)
	require.Regexp(t, `carol  bob closed the session over IPv4: code 0x1ff, "the demo is over"\n +lost: [1-9]\d* of bob's \d+ messages, [1-9]\d* of carol's \d+`, out, "the relay loses packets")
	require.Contains(t, out, "  ok      all 6 closes were confirmed")
	require.Contains(t, out, "All of it held")
	require.NotContains(t, out, checkFailed)
}

func TestDemoGivesUpInTime(t *testing.T) {
	t.Parallel()
	out := command(t, "", exitFailure, "demo", "--ports", "0,0", "--timeout", "1ms")
	require.Contains(t, out, "its time is over after 1ms, --timeout allows more")
}

func TestDemoVerdictTellsWhatFailed(t *testing.T) {
	out := newRecord()
	d := newDemoScript(demoConfig{messages: 10, signals: 1}, &printer{out: out})
	d.alice, d.bob, d.carol = &demoProcess{name: "alice", port: 1}, &demoProcess{name: "bob", port: 2}, &demoProcess{name: "carol", port: 3}
	d.relay = &faultnet.Relay{}
	good := func() *demoPair {
		side := func(remote string) demoSide {
			return demoSide{
				opened: &demoOpened{Remote: "127.0.0.1:" + remote},
				ended: &demoEnded{
					Closed: true, Confirmed: true, Code: 0x101, Reason: "bye", Complete: true,
					Offered: 10, Sent: 10, Lost: 1, Received: 9, LostIn: 1, TheySent: 10, TheyGot: 9, Taken: 9, SignalsOut: 1, SignalsIn: 1,
				},
			}
		}
		p := &demoPair{name: "alice-bob", from: d.alice, to: d.bob, closer: d.alice, code: 0x101, reason: "bye", fromSide: side("2"), toSide: side("1")}
		p.toSide.ended.Remote = true
		return p
	}
	verdict := func(change func(*demoPair)) bool {
		p := good()
		change(p)
		d.checks, d.sessions = nil, []*demoPair{p}
		return d.verdict()
	}
	require.True(t, verdict(func(*demoPair) {}), out)
	for what, change := range map[string]func(*demoPair){
		"another port":         func(p *demoPair) { p.toSide.opened.Remote = "127.0.0.1:7" },
		"another id":           func(p *demoPair) { p.toSide.opened.RemoteID[0] = 1 },
		"counts that disagree": func(p *demoPair) { p.toSide.ended.LostIn = 2 },
		"incomplete counts":    func(p *demoPair) { p.fromSide.ended.Complete = false },
		"sums that are wrong":  func(p *demoPair) { p.fromSide.ended.Lost, p.toSide.ended.LostIn = 2, 2 },
		"a message vanished":   func(p *demoPair) { p.toSide.ended.Taken-- },
		"a message twice":      func(p *demoPair) { p.toSide.ended.Repeated++ },
		"a damaged message":    func(p *demoPair) { p.toSide.ended.Damaged++ },
		"a signal lost":        func(p *demoPair) { p.toSide.ended.SignalsIn-- },
		"signals in disorder":  func(p *demoPair) { p.fromSide.ended.Disorder++ },
		"another reason":       func(p *demoPair) { p.toSide.ended.Reason = "" },
		"another code":         func(p *demoPair) { p.toSide.ended.Code = 0 },
		"not confirmed":        func(p *demoPair) { p.fromSide.ended.Confirmed = false },
		"a failure, no close":  func(p *demoPair) { p.fromSide.ended.Closed = false },
	} {
		require.False(t, verdict(change), what)
	}
	require.Contains(t, out.String(), checkFailed)
}

func TestUDPPortsAreOfTheProcess(t *testing.T) {
	before, err := udpPorts(os.Getpid())
	if err != nil {
		t.Skip("not measured on this system: ", err)
	}
	port := takePort(t)
	v4, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer v4.Close()
	after, err := udpPorts(os.Getpid())
	require.NoError(t, err)
	require.NotContains(t, before, uint16(port))
	require.Contains(t, after, uint16(port))
	require.Contains(t, after, uint16(v4.LocalAddr().(*net.UDPAddr).Port))
	_, err = udpPorts(1 << 30)
	require.Error(t, err, "no such process")
}
