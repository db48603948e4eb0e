package quicpeer

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/session"
)

// However a session or its link ends while callers send and receive, each call
// returns, and every message is accounted for.
func TestEndsInTheMiddleOfAFlood(t *testing.T) {
	for name, end := range map[string]func(*link, *Session) error{
		"closed":    func(_ *link, s *Session) error { return s.Close(context.Background()) },
		"aborted":   func(_ *link, s *Session) error { return s.Abort(0x100) },
		"link lost": func(l *link, _ *Session) error { l.close(closed(session.CodeNormal, "over")); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			e, peer := listenChat(t, Config{}), listenChat(t, Config{})
			accepted := make(chan *Session, 1)
			peer.Handle(chat, func(in *Incoming) {
				if s, err := in.Accept(nil); err == nil {
					accepted <- s
				}
			})
			s, err := dialChat(within(t, 5*time.Second), e, peer.Addr())
			require.NoError(t, err)
			other := <-accepted
			var calls sync.WaitGroup
			flowing := make(chan struct{})
			var once sync.Once
			for i := range 4 {
				for _, from := range []*Session{s, other} {
					calls.Go(func() {
						sizes := []int{0, 20, 700, 1100, 5000}
						for n := i; ; n++ {
							o := session.SendOptions{Priority: n % 3, Full: datagram.SendPolicy(n % 3)}
							if n%11 == 0 {
								o.Expiry = time.Millisecond
							}
							if from.SendWith(context.Background(), make([]byte, sizes[n%len(sizes)]), o) != nil {
								return
							}
						}
					})
				}
			}
			var read [2]uint64
			for i, to := range []*Session{s, other} {
				calls.Go(func() {
					for ; ; read[i]++ {
						if read[i] == 2000 {
							once.Do(func() { close(flowing) })
						}
						if _, err := to.Receive(context.Background()); err != nil {
							return
						}
					}
				})
			}
			<-flowing
			require.NoError(t, end(onlyLink(e), s))
			calls.Wait()
			for i, s := range []*Session{s, other} {
				<-s.Done()
				require.Error(t, s.Err())
				st := s.Stats()
				c := st.Local
				require.Equal(t, c.Pushed, c.Sent+c.SendDrops.Total()+uint64(c.Queued))
				require.Equal(t, c.Received, read[i]+c.Dropped+c.ReceiveDrops[datagram.ReasonDiscarded]+uint64(c.Unread))
				require.Equal(t, name == "closed", st.Complete)
				if st.Complete {
					require.Zero(t, c.Queued)
					require.Equal(t, c.Sent, st.Remote.Received+st.Lost)
					require.Equal(t, st.Remote.Sent, c.Received+st.LostIncoming)
					require.LessOrEqual(t, st.Lost, c.Sent)
					require.LessOrEqual(t, st.LostIncoming, st.Remote.Sent)
				}
			}
		})
	}
}
