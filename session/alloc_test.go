//go:build !race

// Not with the race detector: it makes a sync.Pool forget at random what it was
// given.

package session

import (
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/datagram"
)

// direct makes l bring its datagrams to its peer on the goroutine that sends,
// in memory that is used over and over, as far as this side is concerned: what
// QUIC allocates for them is not this package's.
func (l *testLink) direct() {
	var arrived [64][1500]byte
	buf, n := make([]byte, 0, 1500), 0
	l.drive = func() {
		if !l.mux.Drive() {
			return
		}
		for {
			d, ok := l.mux.Next(time.Time{}, buf)
			if !ok {
				return
			}
			l.mux.Sent()
			b := arrived[n%len(arrived)][:len(d)]
			copy(b, d)
			l.peer.handle(b)
			n++
		}
	}
}

// Messages cost no allocation, small ones in bundles nor full-size ones, from
// Send or SendBatch to ReceiveInto or ReceiveBatch.
func TestMessagesAllocateNothing(t *testing.T) {
	const burst, bursts, runs = 50, 20, 20
	send := map[string]func(p *pair, messages [][]byte) error{
		"Send": func(p *pair, messages [][]byte) (err error) {
			for i := 0; i < len(messages) && err == nil; i++ {
				err = p.a.Send(background, messages[i])
			}
			return err
		},
		"SendBatch": func(p *pair, messages [][]byte) error {
			_, err := p.a.SendBatch(background, messages, SendOptions{})
			return err
		},
	}
	receive := map[string]func(p *pair, into [][]byte, buf []byte) error{
		"ReceiveInto": func(p *pair, into [][]byte, buf []byte) (err error) {
			for i := 0; i < len(into) && err == nil; i++ {
				_, err = p.b.ReceiveInto(background, buf)
			}
			return err
		},
		"ReceiveBatch": func(p *pair, into [][]byte, _ []byte) error {
			for len(into) > 0 {
				n, err := p.b.ReceiveBatch(background, into)
				if err != nil {
					return err
				}
				into = into[n:]
			}
			return nil
		},
	}
	for sendName, send := range send {
		for receiveName, receive := range receive {
			for _, size := range []int{64, 1000} {
				testPair(t, func(client, _ *testLink) { client.direct() }, func(t *testing.T, p *pair) {
					synctest.Wait()
					messages, into := make([][]byte, burst), make([][]byte, burst)
					for i := range messages {
						messages[i] = make([]byte, size)
					}
					buf := make([]byte, size)
					defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it empties the pools
					allocs := testing.AllocsPerRun(runs, func() {
						for range bursts {
							if err := send(p, messages); err != nil {
								t.Fatal(err)
							}
							if err := receive(p, into, buf); err != nil {
								t.Fatal(err)
							}
						}
					})
					require.Zero(t, allocs, "%s to %s, allocations in %d messages of %d", sendName, receiveName, burst*bursts, size)
					require.EqualValues(t, (runs+1)*burst*bursts, p.b.Stats().Local.Received)
					require.Equal(t, datagram.Drops{}, p.b.Stats().Local.ReceiveDrops)
				})
			}
		}
	}
}
