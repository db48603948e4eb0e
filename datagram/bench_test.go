package datagram

import (
	"context"
	"fmt"
	"testing"
)

func BenchmarkCodec(b *testing.B) {
	payload := make([]byte, 1000)
	buf := make([]byte, 0, 2000)
	items := AppendHeader(nil, Header{KindBundle, 1 << 20})
	for range 15 {
		items = AppendBundleItem(items, Message{1234, payload[:64]})
	}
	for _, bench := range []struct {
		name string
		f    func()
	}{
		{"append message", func() { AppendMessage(buf[:0], 1<<20, Message{1234, payload}) }},
		{"append fragment", func() { AppendFragment(buf[:0], 1<<20, Fragment{1234, 5, 65536, 3000, payload}) }},
		{"parse message", func() {
			_, body, _ := ParseHeader(items)
			_, _ = ParseMessage(body)
		}},
		{"parse bundle of 15", func() {
			_, body, _ := ParseHeader(items)
			for len(body) > 0 {
				_, body, _ = NextBundleItem(body)
			}
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bench.f()
			}
		})
	}
}

// One message pushed and handed over, alone or in bundles of as many as fit.
func BenchmarkPushNext(b *testing.B) {
	for _, size := range []int{0, 64, 1000, 16000} {
		for _, flows := range []int{1, 100} {
			b.Run(fmt.Sprintf("size=%d/flows=%d", size, flows), func(b *testing.B) {
				m := NewMux(MuxConfig{MaxDatagram: 1400})
				all := make([]*Flow, flows)
				for i := range all {
					all[i] = m.Open(epoch, uint64(2*i), FlowConfig{})
				}
				payload, buf := make([]byte, size), make([]byte, 0, 1500)
				burst := min(20, DefaultSendBytes/max(1, size)) // what the queue takes without waiting
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for n := 0; b.Loop(); n++ {
					if err := all[n%flows].Push(context.Background(), epoch, payload, SendOptions{}); err != nil {
						b.Fatal(err)
					}
					if n%burst != burst-1 {
						continue
					}
					for {
						if _, ok := m.Next(epoch, buf); !ok {
							break
						}
						m.Sent()
					}
				}
			})
		}
	}
}

// One message of a batch offered, and handed over.
func BenchmarkOfferBatch(b *testing.B) {
	const batch = 20
	for _, size := range []int{64, 1390} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			m := NewMux(MuxConfig{MaxDatagram: 1400})
			f := m.Open(epoch, 0, FlowConfig{})
			payloads := make([][]byte, batch)
			for i := range payloads {
				payloads[i] = make([]byte, size)
			}
			buf := make([]byte, 0, 1500)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for n := 0; b.Loop(); n++ {
				if n%batch != 0 {
					continue
				}
				if _, _, err := f.OfferBatch(context.Background(), epoch, payloads, SendOptions{}); err != nil {
					b.Fatal(err)
				}
				for {
					if _, ok := m.Next(epoch, buf); !ok {
						break
					}
					m.Sent()
				}
			}
		})
	}
}

// popWays are the ways to take so many messages that are there.
var popWays = []struct {
	name string
	pop  func(f *Flow, batch [][]byte, buf []byte) bool
}{
	{"TryPop", func(f *Flow, batch [][]byte, _ []byte) (ok bool) {
		for i := range batch {
			batch[i], ok = f.TryPop()
		}
		return ok
	}},
	{"PopInto", func(f *Flow, batch [][]byte, buf []byte) bool {
		var err error
		for range batch {
			_, err = f.PopInto(context.Background(), buf)
		}
		return err == nil
	}},
	{"PopBatch", func(f *Flow, batch [][]byte, _ []byte) bool {
		n, err := f.PopBatch(context.Background(), batch)
		return err == nil && n == len(batch)
	}},
}

// One message received and popped, in bursts of 20: alone, or out of a bundle.
// The datagrams are made beforehand.
func BenchmarkHandlePop(b *testing.B) {
	const burst = 20
	for _, size := range []int{64, 1390} {
		for _, way := range popWays {
			b.Run(fmt.Sprintf("size=%d/%s", size, way.name), func(b *testing.B) {
				m := NewMux(MuxConfig{Client: true})
				f := m.Open(epoch, 0, FlowConfig{})
				in := inSessions(burst, size, 1)
				batch, buf := make([][]byte, burst), make([]byte, 1500)
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for n := 0; b.Loop(); n++ {
					if n%burst != 0 {
						continue
					}
					in.handle(m)
					if !way.pop(f, batch, buf) {
						b.Fatal("nothing received")
					}
				}
			})
		}
	}
}

// One message from a Mux to another, from Offer to PopInto or in batches of 20.
// What a datagram is received into is used again.
func BenchmarkThrough(b *testing.B) {
	const batch = 20
	for _, size := range []int{64, 1390} {
		for _, batched := range []bool{false, true} {
			name := fmt.Sprintf("size=%d/one by one", size)
			if batched {
				name = fmt.Sprintf("size=%d/in batches", size)
			}
			b.Run(name, func(b *testing.B) {
				ctx := context.Background()
				from, to := NewMux(MuxConfig{Client: true, MaxDatagram: 1400}), NewMux(MuxConfig{})
				out, in := from.Open(epoch, 0, FlowConfig{}), to.Open(epoch, 0, FlowConfig{})
				payloads, got := make([][]byte, batch), make([][]byte, batch)
				for i := range payloads {
					payloads[i] = make([]byte, size)
				}
				var datagrams [batch][1500]byte // one for each message of a batch, at most
				buf := make([]byte, size)
				carry := func() {
					for i := 0; ; i++ {
						d, ok := from.Next(epoch, datagrams[i%batch][:])
						if !ok {
							return
						}
						from.Sent()
						to.Handle(epoch, d)
					}
				}
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for n := 0; b.Loop(); n++ {
					switch {
					case !batched:
						_, _ = out.Offer(ctx, epoch, payloads[0], SendOptions{})
						carry()
						if _, err := in.PopInto(ctx, buf); err != nil {
							b.Fatal(err)
						}
					case n%batch == 0:
						_, _, _ = out.OfferBatch(ctx, epoch, payloads, SendOptions{})
						carry()
						if taken, err := in.PopBatch(ctx, got); err != nil || taken != batch {
							b.Fatal(taken, err)
						}
					}
				}
			})
		}
	}
}

// A 64 KiB message in fragments, from Push to Pop.
func BenchmarkFragments(b *testing.B) {
	from, to := NewMux(MuxConfig{Client: true, MaxDatagram: 1400}), NewMux(MuxConfig{})
	out, in := from.Open(epoch, 0, FlowConfig{}), to.Open(epoch, 0, FlowConfig{})
	payload, buf := make([]byte, 64<<10), make([]byte, 0, 1500)
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if err := out.Push(context.Background(), epoch, payload, SendOptions{}); err != nil {
			b.Fatal(err)
		}
		for {
			d, ok := from.Next(epoch, buf)
			if !ok {
				break
			}
			from.Sent()
			to.Handle(epoch, d)
		}
		if _, ok := in.TryPop(); !ok {
			b.Fatal("nothing received")
		}
	}
}

// Blocked calls: a pusher that waits for room and a pump, a popper that waits for messages and a reader.
func BenchmarkWaiting(b *testing.B) {
	b.Run("push", func(b *testing.B) {
		m := NewMux(MuxConfig{MaxDatagram: 100})
		f := m.Open(epoch, 0, FlowConfig{SendMessages: 1})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			buf := make([]byte, 0, 1500)
			for {
				if _, ok := m.Next(epoch, buf); ok {
					m.Sent()
					continue
				}
				select {
				case <-m.Wake():
				case <-ctx.Done():
					return
				}
			}
		}()
		payload := make([]byte, 64)
		b.ReportAllocs()
		for b.Loop() {
			_ = f.Push(ctx, epoch, payload, SendOptions{})
		}
		cancel()
		<-ended
	})
	b.Run("pop", func(b *testing.B) {
		m := NewMux(MuxConfig{Client: true})
		f := m.Open(epoch, 0, FlowConfig{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				if _, err := f.Pop(context.Background()); err != nil {
					return
				}
			}
		}()
		d := make([]byte, 0, 100)
		n := uint64(0)
		b.ReportAllocs()
		for b.Loop() {
			m.Handle(epoch, AppendMessage(d[:0], n, Message{0, nil}))
			n++
		}
		f.CloseReceive(errClosed)
		<-ended
	})
}
