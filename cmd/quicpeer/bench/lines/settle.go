package lines

import (
	"context"
	"time"
)

// Discovery of the path's size needs traffic, and has ended when the size has not
// changed for a while.
const (
	settleTime = time.Second
	steadyTime = 200 * time.Millisecond
	settleStep = 5 * time.Millisecond
)

// Settle sends messages that are ignored until the size of the largest datagram
// has not changed for a while, a second at most, and returns it: the Settle of a
// Peer that can ask for it.
func Settle(ctx context.Context, p Peer, ask func() (int, error)) (size int, err error) {
	step := time.NewTicker(settleStep)
	defer step.Stop()
	begun := time.Now()
	for changed := begun; time.Since(begun) < settleTime && time.Since(changed) < steadyTime; <-step.C {
		if err := p.Send(ctx, []byte{KindIgnore}); err != nil {
			return 0, err
		}
		n, err := ask()
		if err != nil {
			return 0, err
		}
		if n != size {
			size, changed = n, time.Now()
		}
	}
	return size, nil
}

// Ready waits until datagrams have their size, says so, and waits for "go".
func Ready(ctx context.Context, p Peer, commands <-chan string, out *Output) error {
	datagram, err := p.Settle(ctx)
	if err != nil {
		return err
	}
	out.Printf("ready %d", datagram)
	return Await(commands, "go")
}
