package datagram

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Many goroutines on many sessions of one link at once. Sessions come and go; each ends by the counts it states.
func TestConcurrentSessions(t *testing.T) {
	const sessions, rounds, messages = 6, 10, 60
	from, to := NewMux(MuxConfig{Client: true, MaxDatagram: 300}), NewMux(MuxConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	var pump, work sync.WaitGroup
	pump.Go(func() { // the pump, and the wire, which refuses and repeats
		for n := 0; ; n++ {
			d, ok := from.Next(time.Now(), nil)
			switch {
			case ok && n%7 == 3:
				from.Refused(250 + n%3*50)
			case ok:
				from.Sent()
				to.Handle(time.Now(), d)
				if n%5 == 0 {
					to.Handle(time.Now(), bytes.Clone(d))
				}
			default:
				select {
				case <-from.Wake():
				case <-ctx.Done():
					return
				}
			}
		}
	})
	pump.Go(func() { // someone who looks on
		for ctx.Err() == nil {
			from.Counts()
			to.Counts()
			from.Tick(time.Now())
			to.Tick(time.Now())
		}
	})
	for s := range uint64(sessions) {
		work.Go(func() {
			for round := range uint64(rounds) {
				oneSession(t, from, to, 2*(round*sessions+s), messages)
			}
		})
	}
	work.Wait()
	cancel()
	pump.Wait()
	require.Zero(t, from.Counts().Flows)
	require.Zero(t, to.Counts().EarlyHeld)
	c := to.Counts()
	require.Equal(t, c.Received, c.Accepted+c.DatagramDrops.Total())
}

func oneSession(t *testing.T, from, to *Mux, id uint64, messages int) {
	errOver := errors.New("over")
	to.Announce(id)
	out := from.Open(time.Now(), id, FlowConfig{SendMessages: 3})
	in := to.Open(time.Now(), id, FlowConfig{ReceiveMessages: 1000})
	popped := make(chan int)
	for range 2 {
		go func() {
			n := 0
			defer func() { popped <- n }()
			for {
				p, err := in.Pop(context.Background())
				if err != nil {
					return
				}
				if binary.BigEndian.Uint64(p) == id {
					n++
				}
			}
		}()
	}
	var pushers sync.WaitGroup
	for i := range 2 {
		pushers.Go(func() {
			for n := range messages / 2 {
				p := binary.BigEndian.AppendUint64(nil, id)
				p = append(p, make([]byte, n*20*i)...)
				if err := out.Push(context.Background(), time.Now(), p, SendOptions{Priority: n % 2}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	pushers.Wait()
	out.CloseSend(errOver)
	<-out.Drained()
	sent := out.Counts().Sent
	<-in.Arrived(sent)
	in.CloseReceive(errOver)
	n := <-popped + <-popped
	<-in.Emptied()
	if c := in.Counts(); sent != uint64(messages) || c.Received != sent || uint64(n) != sent {
		t.Errorf("session %d: sent %d, received %d, popped %d", id, sent, c.Received, n)
	}
	from.Remove(id)
	to.Remove(id)
}
