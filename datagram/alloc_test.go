//go:build !race

// Not with the race detector: it makes a sync.Pool forget at random what it was
// given.

package datagram

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// allocRound is how many messages one measured run handles. A run must
// allocate nothing, on average and rounded down: less than one allocation in so
// many messages is noise of the runtime.
const allocRound = 1000

// wantNoAllocs checks that f, which handles allocRound messages, allocates
// nothing once it has run before.
func wantNoAllocs(t *testing.T, f func()) {
	t.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it empties the pools
	require.Zero(t, testing.AllocsPerRun(20, f), "allocations in %d messages", allocRound)
}

// allocCases are sizes of messages: those that share a datagram, those that
// fill one, and those that take several.
var allocCases = []struct {
	name  string
	size  int
	burst int // that the queue takes without waiting
}{{"empty", 0, 100}, {"small", 64, 100}, {"full", 1390, 100}, {"fragmented", 16000, 10}}

func TestSendingAllocatesNothing(t *testing.T) {
	ctx := context.Background()
	ways := map[string]func(f *Flow, payloads [][]byte) error{
		"Push": func(f *Flow, payloads [][]byte) (err error) {
			for i := 0; i < len(payloads) && err == nil; i++ {
				err = f.Push(ctx, epoch, payloads[i], SendOptions{})
			}
			return err
		},
		"Offer": func(f *Flow, payloads [][]byte) (err error) {
			for i := 0; i < len(payloads) && err == nil; i++ {
				_, err = f.Offer(ctx, epoch, payloads[i], SendOptions{Expiry: 1, Full: SendFail})
			}
			return err
		},
		"OfferBatch": func(f *Flow, payloads [][]byte) error {
			_, _, err := f.OfferBatch(ctx, epoch, payloads, SendOptions{Priority: 3})
			return err
		},
	}
	for name, offer := range ways {
		for _, c := range allocCases {
			for _, flows := range []int{1, 10} {
				t.Run(fmt.Sprintf("%s/%s/flows=%d", name, c.name, flows), func(t *testing.T) {
					m := NewMux(MuxConfig{MaxDatagram: 1400})
					all := make([]*Flow, flows)
					for i := range all {
						all[i] = m.Open(epoch, uint64(2*i), FlowConfig{})
					}
					payloads := make([][]byte, c.burst/flows)
					for i := range payloads {
						payloads[i] = make([]byte, c.size)
					}
					buf := make([]byte, 0, 1500)
					wantNoAllocs(t, func() {
						for range allocRound / c.burst {
							for _, f := range all {
								if err := offer(f, payloads); err != nil {
									t.Fatal(err)
								}
							}
							for {
								if _, ok := m.Next(epoch, buf); !ok {
									break
								}
								m.Sent()
							}
						}
					})
					sent := uint64(0)
					for _, f := range all {
						sent += f.Counts().Sent
					}
					require.EqualValues(t, 21*allocRound, sent)
				})
			}
		}
	}
}

func TestReceivingAllocatesNothing(t *testing.T) {
	const burst = 100
	ctx := context.Background()
	ways := map[string]func(f *Flow, batch [][]byte, buf []byte) error{
		"PopInto": func(f *Flow, batch [][]byte, buf []byte) (err error) {
			for i := 0; i < len(batch) && err == nil; i++ {
				_, err = f.PopInto(ctx, buf)
			}
			return err
		},
		"PopBatch": func(f *Flow, batch [][]byte, _ []byte) error {
			for len(batch) > 0 {
				n, err := f.PopBatch(ctx, batch)
				if err != nil {
					return err
				}
				batch = batch[n:]
			}
			return nil
		},
		"Pop": func(f *Flow, batch [][]byte, _ []byte) (err error) {
			for i := 0; i < len(batch) && err == nil; i++ {
				batch[i], err = f.Pop(ctx)
			}
			return err
		},
	}
	for name, pop := range ways {
		for _, c := range allocCases[:3] {
			for _, sessions := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s/%s/flows=%d", name, c.name, sessions), func(t *testing.T) {
					m := NewMux(MuxConfig{Client: true, CreditEvery: 32})
					all := make([]*Flow, sessions)
					for i := range all {
						all[i] = m.Open(epoch, uint64(2*i), FlowConfig{})
					}
					in := inSessions(burst, c.size, sessions)
					batch, buf := make([][]byte, burst/sessions), make([]byte, 1500)
					wantNoAllocs(t, func() {
						for range allocRound / burst {
							in.handle(m)
							for _, f := range all {
								if err := pop(f, batch, buf); err != nil {
									t.Fatal(err)
								}
							}
						}
					})
					for _, f := range all {
						require.EqualValues(t, 21*allocRound/sessions, f.Counts().Received)
						require.Zero(t, f.Counts().Unread)
					}
				})
			}
		}
	}
}

// Calls that wait, in turn with the goroutine that serves them.
func TestWaitingAllocatesNothing(t *testing.T) {
	t.Run("PopInto", func(t *testing.T) {
		for sessions := 1; sessions <= 10; sessions += 9 {
			m := NewMux(MuxConfig{Client: true})
			all := make([]*Flow, sessions)
			taken, ended := make(chan struct{}), make(chan struct{})
			for i := range all {
				all[i] = m.Open(epoch, uint64(2*i), FlowConfig{})
				go func() {
					defer func() { ended <- struct{}{} }()
					buf := make([]byte, 100)
					for {
						if _, err := all[i].PopInto(context.Background(), buf); err != nil {
							return
						}
						taken <- struct{}{}
					}
				}()
			}
			var body []byte
			for _, f := range all {
				body = AppendBundleItem(body, Message{f.ID(), buf64[:]})
			}
			in := newStamped(KindBundle, body)
			wantNoAllocs(t, func() {
				for range allocRound / sessions {
					m.recv.awaitWaiting(all)
					in.handle(m)
					for range all {
						<-taken
					}
				}
			})
			for _, f := range all {
				f.CloseReceive(errClosed)
				<-ended
			}
		}
	})
	t.Run("Offer", func(t *testing.T) {
		m := NewMux(MuxConfig{MaxDatagram: 100})
		f := m.Open(epoch, 0, FlowConfig{SendMessages: 1})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			buf := make([]byte, 0, 1500)
			for ctx.Err() == nil {
				if _, ok := m.Next(epoch, buf); ok {
					m.Sent()
					continue
				}
				select {
				case <-m.Wake():
				case <-ctx.Done():
				}
			}
		}()
		wantNoAllocs(t, func() {
			for range allocRound {
				if err := f.Push(ctx, epoch, buf64[:], SendOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		})
		cancel()
		<-ended
	})
}

var buf64 [64]byte

// awaitWaiting returns once a call waits on each of these flows.
func (r *receiver) awaitWaiting(flows []*Flow) {
	for _, f := range flows {
		for waits := false; !waits; runtime.Gosched() {
			r.mu.Lock()
			waits = !f.recv.waiting.empty()
			r.mu.Unlock()
		}
	}
}
