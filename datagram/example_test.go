package datagram_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oneportnet/quicpeer/datagram"
)

// One message from one side of a link to the other.
func Example() {
	now := time.Now()
	client := datagram.NewMux(datagram.MuxConfig{Client: true})
	server := datagram.NewMux(datagram.MuxConfig{})
	out := client.Open(now, 0, datagram.FlowConfig{})
	in := server.Open(now, 0, datagram.FlowConfig{})

	ctx := context.Background()
	if err := out.Push(ctx, now, []byte("hello"), datagram.SendOptions{}); err != nil {
		fmt.Println(err)
	}
	if d, ok := client.Next(now, nil); ok {
		client.Sent() // QUIC would have taken it
		server.Handle(now, d)
	}
	message, err := in.Pop(ctx)
	fmt.Printf("%s %v\n", message, err)
	fmt.Println("sent:", out.Counts().Sent, "received:", in.Counts().Received)
	// Output:
	// hello <nil>
	// sent: 1 received: 1
}

// The pump of a link. sendDatagram stands for QUIC, which takes datagrams of up to 40 bytes here.
func ExampleMux_Next() {
	errTooLarge := errors.New("too large")
	sendDatagram := func(d []byte) error {
		if len(d) > 40 {
			return errTooLarge
		}
		fmt.Println(len(d), "bytes")
		return nil
	}

	now := time.Now()
	m := datagram.NewMux(datagram.MuxConfig{Client: true})
	f := m.Open(now, 0, datagram.FlowConfig{})
	if err := f.Push(context.Background(), now, make([]byte, 70), datagram.SendOptions{}); err != nil {
		fmt.Println(err)
	}
	f.CloseSend(errors.New("no more"))

	buf := make([]byte, 0, 1500)
	for {
		select {
		case <-f.Drained():
			fmt.Println("drained")
			return
		case <-m.Wake():
		}
		for d, ok := m.Next(now, buf); ok; d, ok = m.Next(now, buf) {
			if err := sendDatagram(d); err == nil {
				m.Sent()
			} else {
				m.Refused(40)
			}
		}
	}
	// Output:
	// 40 bytes
	// 40 bytes
	// 12 bytes
	// drained
}

// A full queue that keeps what is newest.
func ExampleFlow_Push() {
	now := time.Now()
	m := datagram.NewMux(datagram.MuxConfig{Client: true})
	f := m.Open(now, 0, datagram.FlowConfig{SendMessages: 2, SendFull: datagram.SendDropOldest})
	for i := range 5 {
		if err := f.Push(context.Background(), now, []byte{byte(i)}, datagram.SendOptions{}); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(f.Push(context.Background(), now, nil, datagram.SendOptions{Full: datagram.SendFail}))
	c := f.Counts()
	fmt.Println("queued:", c.Queued, "dropped:", c.SendDrops[datagram.ReasonOldest])
	// Output:
	// datagram: send queue full
	// queued: 2 dropped: 3
}

// After the peer has said how much it sent, what is still missing is waited for, within bounds.
func ExampleFlow_Settle() {
	now := time.Now()
	m := datagram.NewMux(datagram.MuxConfig{})
	f := m.Open(now, 0, datagram.FlowConfig{})
	m.Handle(now, datagram.AppendMessage(nil, 0, datagram.Message{Session: 0, Payload: []byte("first")}))
	m.Handle(now, datagram.AppendMessage(nil, 2, datagram.Message{Session: 0, Payload: []byte("third")}))

	grace := 50 * time.Millisecond
	fmt.Println(f.Settle(now, 3, 3, now, grace))
	fmt.Println(f.Settle(now.Add(20*time.Millisecond), 3, 3, now, grace))
	m.Handle(now, datagram.AppendMessage(nil, 1, datagram.Message{Session: 0, Payload: []byte("second")}))
	fmt.Println(f.Settle(now, 3, 3, now, grace))
	// Output:
	// 50ms
	// 30ms
	// 0s
}

func ExampleAppendMessage() {
	d := datagram.AppendMessage(nil, 7, datagram.Message{Session: 3, Payload: []byte("hello")})
	fmt.Printf("%x\n", d)
	h, body, err := datagram.ParseHeader(d)
	if err != nil {
		fmt.Println(err)
	}
	m, err := datagram.ParseMessage(body)
	fmt.Println(h.Kind, h.Number, m.Session, string(m.Payload), err)
	// Output:
	// 00070368656c6c6f
	// message 7 3 hello <nil>
}

func ExampleNextBundleItem() {
	d := datagram.AppendHeader(nil, datagram.Header{Kind: datagram.KindBundle, Number: 1})
	d = datagram.AppendBundleItem(d, datagram.Message{Session: 3, Payload: []byte("one")})
	d = datagram.AppendBundleItem(d, datagram.Message{Session: 4, Payload: []byte("two")})

	_, body, err := datagram.ParseHeader(d)
	for err == nil && len(body) > 0 {
		var m datagram.Message
		if m, body, err = datagram.NextBundleItem(body); err == nil {
			fmt.Println(m.Session, string(m.Payload))
		}
	}
	// Output:
	// 3 one
	// 4 two
}
