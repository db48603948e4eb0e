package integration_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/oneportnet/quicpeer/session"
)

// plan is what one session of TestSessionsUnderFaults is to do: both sides know
// it, and follow it as far as the network lets them.
type plan struct {
	number   int
	client   int           // which client is one end; the server is the other
	byServer bool          // who opens
	start    time.Duration // when
	reject   bool
	sides    [2]sidePlan // of the opener, of the acceptor
}

// sidePlan is one side's part.
type sidePlan struct {
	messages, signals int
	takesNone         bool          // of the other side's signals
	gap               time.Duration // between two messages
	end               ending
	after             time.Duration // how long after the opening
}

// ending is how a side ends the session.
type ending int

const (
	endsNothing ending = iota // waits for the other side to do it
	endsClose
	endsAbort
)

// newPlan makes session number of the network with a seed.
func newPlan(seed uint64, number, clients int, within time.Duration) plan {
	r := rand.New(rand.NewPCG(seed, uint64(number)))
	p := plan{
		number: number, client: r.IntN(clients), byServer: r.IntN(4) == 0,
		start: time.Duration(r.Int64N(int64(within))), reject: r.IntN(10) == 0,
	}
	for i := range p.sides {
		p.sides[i] = sidePlan{
			messages: r.IntN(30), signals: r.IntN(6), takesNone: r.IntN(8) == 0,
			gap: time.Duration(r.IntN(50)) * time.Millisecond, after: time.Duration(r.IntN(3000)) * time.Millisecond,
		}
	}
	switch opener, acceptor := &p.sides[0], &p.sides[1]; r.IntN(8) {
	case 0, 1:
		opener.end = endsClose
	case 2, 3:
		acceptor.end = endsClose
	case 4: // at once
		opener.end, opener.after = endsClose, 0
	case 5: // about the same time
		opener.end, acceptor.end = endsClose, endsClose
		acceptor.after = opener.after + time.Duration(r.IntN(40))*time.Millisecond
	case 6:
		opener.end = endsAbort
	case 7:
		acceptor.end = endsAbort
	}
	return p
}

// code and reason are those of one side, which no other side has.
func (p *plan) code(side int) session.Code {
	return session.FirstApplicationCode + session.Code(2*p.number+side)
}

func (p *plan) reason(side int) string {
	return fmt.Sprintf("session %d is over for side %d", p.number, side)
}

// message is message i of one side, as no other session, side or number has
// it: every fifth one is too large for a datagram.
func (p *plan) message(side, i int) []byte {
	text := fmt.Appendf(nil, "%d %d %d ", p.number, side, i)
	size := len(text) + (i*37)%150
	if i%5 == 4 {
		size += 3000
	}
	for j := len(text); j < size; j++ {
		text = append(text, byte(p.number+side+i+j))
	}
	return text
}

func (p *plan) signal(side, i int) []byte {
	return fmt.Appendf(nil, "signal %d %d %d", p.number, side, i)
}
