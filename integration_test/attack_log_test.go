package integration_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// The tests of attack_*_test.go see to the bounds of what hostile peers can
// cost. What they do to a machine is measured by the program in attack/.

// logLines is a logger's output. While lines are counted nobody writes, but that
// the next one waits for time to pass says nothing to the race detector.
type logLines struct{ safeBuffer }

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// count waits until the network is quiet, and counts the lines with a text.
func (l *logLines) count(text string) int {
	synctest.Wait()
	return strings.Count(l.String(), text)
}

// burst is how many lines of a kind come at once, at most.
const burst = 100

func TestAttackRefusedHandshakesAreCountedAndDoNotFloodTheLog(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		const tries = 128
		var log logLines
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{Trust: certs.IDs(), Logger: log.logger()})
		stranger := n.raw(t, "10.0.0.1:1000")
		for i := range tries {
			conn, err := stranger.connect(b)
			if err == nil {
				<-conn.Context().Done() // a client learns of the refusal afterwards
			}
			if i == tries/2-1 {
				n.pass(time.Second + time.Millisecond) // more at once are not let in from one address
			}
		}
		require.Equal(t, burst+1, log.count("peer refused"), "no more, and one for the second that went by")
		require.EqualValues(t, tries, b.Stats().UntrustedPeers, "but all are counted")
		n.pass(time.Second + time.Millisecond)
		conn, err := stranger.connect(b)
		require.NoError(t, err)
		<-conn.Context().Done()
		require.Equal(t, burst+2, log.count("peer refused"))
		require.Equal(t, 1, log.count("suppressed=27"))
		b.wantLinks("none of them", 0)
	})
}

func TestAttackViolationsAreCountedAndDoNotFloodTheLog(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		const tries = 150
		var log logLines
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{Logger: log.logger()})
		hostile := n.raw(t, "10.0.0.1:1000")
		p := hostile.dial(b)
		for range tries {
			p.open(session.Close{}).wantReset("not an OPEN", session.CodeViolation)
		}
		require.Equal(t, burst, log.count("protocol violation on a session"))
		require.EqualValues(t, tries, b.Stats().Violations)
		for range tries {
			p.writeLink(session.Settings{})
			code, _ := p.wantClosed("SETTINGS twice")
			require.Equal(t, session.CodeViolation, code)
			n.pass(time.Second / 60) // more are not let in from one address
			p = hostile.dial(b)
		}
		lines := log.count(`"protocol violation"`)
		require.GreaterOrEqual(t, lines, burst)
		require.LessOrEqual(t, lines, burst+5)
		require.EqualValues(t, 2*tries, b.Stats().Violations)
		require.LessOrEqual(t, log.count("\n"), 4*(burst+5), "links that come and go are lines, too")
	})
}

// What ends because its link broke the protocol is one violation, not many.
func TestAttackViolationsAreCountedOnce(t *testing.T) {
	simulate(t, func(t *testing.T, n *network) {
		var log logLines
		b := n.peer(t, "10.0.0.2:1000", quicpeer.Config{Logger: log.logger()})
		p := n.raw(t, "10.0.0.1:1000").dial(b)
		for range 5 {
			p.openAccepted(b)
		}
		p.writeLink(session.Settings{})
		p.wantClosed("SETTINGS twice")
		require.Equal(t, 1, log.count(`msg="protocol violation`))
		require.EqualValues(t, 1, b.Stats().Violations)
	})
}
