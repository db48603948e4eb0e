package faultnet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/quicpeer/faultnet"
)

// A program that speaks UDP by itself, on a path that repeats 30 % of the
// packets in each direction: what it has to put up with is the same each time.
func ExampleRelay() {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	go func() { // echo
		b := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(b[:n], from)
		}
	}()

	twice := faultnet.Faults{Duplicate: 0.3}
	relay, err := faultnet.Start(context.Background(), server.LocalAddr().String(), &faultnet.Config{
		Seed: 1, ToServer: twice, ToClient: twice,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer relay.Close()

	client, err := net.Dial("udp", relay.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	for i := range 5 {
		fmt.Fprintf(client, "message %d", i)
	}
	b := make([]byte, 1500)
	_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
	for range 10 {
		n, err := client.Read(b)
		fmt.Printf("%s, %v\n", b[:n], err)
	}
	toServer, toClient := relay.Counts()
	fmt.Println("to the server:", toServer.Offered, "and", toServer.Duplicated, "copies")
	fmt.Println("to the client:", toClient.Offered, "and", toClient.Duplicated, "copies")
	// Output:
	// message 0, <nil>
	// message 1, <nil>
	// message 1, <nil>
	// message 2, <nil>
	// message 2, <nil>
	// message 3, <nil>
	// message 3, <nil>
	// message 4, <nil>
	// message 4, <nil>
	// message 4, <nil>
	// to the server: 5 and 2 copies
	// to the client: 7 and 3 copies
}

// Two endpoints of this module, on a path that repeats 30 % of the packets in
// each direction: no message comes twice.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	bob, err := quicpeer.Listen("127.0.0.1:0", &quicpeer.Config{Trust: certs.Anyone()})
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Close(ctx)
	bob.Handle("echo", func(in *quicpeer.Incoming) {
		s, err := in.Accept(nil)
		for err == nil {
			var msg []byte
			if msg, err = s.Receive(ctx); err == nil {
				err = s.Send(ctx, msg)
			}
		}
	})

	twice := faultnet.Faults{Duplicate: 0.3}
	relay, err := faultnet.Start(ctx, bob.Addr().String(), &faultnet.Config{Seed: 1, ToServer: twice, ToClient: twice})
	if err != nil {
		log.Fatal(err)
	}
	defer relay.Close()

	alice, err := quicpeer.Listen("127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close(ctx)
	s, err := alice.Dial(ctx, relay.Addr().String(), &quicpeer.DialOptions{Protocol: "echo", PeerID: bob.ID()})
	if err != nil {
		log.Fatal(err)
	}
	for i := range 100 {
		if err := s.Send(ctx, fmt.Append(nil, i)); err != nil {
			log.Fatal(err)
		}
		if msg, err := s.Receive(ctx); err != nil || string(msg) != fmt.Sprint(i) {
			log.Fatalf("message %d: %q, %v", i, msg, err)
		}
	}
	fmt.Println("closed:", s.Close(ctx))
	<-s.Done()
	stats := s.Stats()
	toServer, toClient := relay.Counts()
	fmt.Println("messages that came back:", stats.Local.Received, "of", stats.Local.Sent)
	fmt.Println("packets came twice, both ways:", toServer.Duplicated > 0 && toClient.Duplicated > 0)
	// Output:
	// closed: <nil>
	// messages that came back: 100 of 100
	// packets came twice, both ways: true
}

// Two endpoints on a simulated network, whose answers are lost after a while. In
// a test, call synctest.Test around all of it: then it takes no time.
func ExampleSim() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	sim := faultnet.NewSim(1, faultnet.Faults{Delay: 10 * time.Millisecond, Loss: 0.05})
	defer sim.Close()
	listen := func(address string) (*quicpeer.Endpoint, netip.AddrPort) {
		conn, err := sim.Listen(netip.MustParseAddrPort(address))
		if err != nil {
			log.Fatal(err)
		}
		e, err := quicpeer.ListenPacket(conn, &quicpeer.Config{Trust: certs.Anyone(), Protocols: []string{"quiet"}})
		if err != nil {
			log.Fatal(err)
		}
		return e, netip.MustParseAddrPort(address)
	}
	alice, a := listen("10.0.0.1:1000")
	bob, b := listen("10.0.0.2:1000")
	go func() {
		if in, err := bob.Accept(ctx); err == nil {
			_, _ = in.Accept(nil)
		}
	}()
	s, err := alice.Dial(ctx, b.String(), &quicpeer.DialOptions{Protocol: "quiet"})
	if err != nil {
		log.Fatal(err)
	}

	schedule := faultnet.Schedule{
		{At: 100 * time.Millisecond, Do: faultnet.RebindClient{Client: 0}},
		{At: 200 * time.Millisecond, Do: faultnet.Cut{Direction: faultnet.ToClient}},
	}
	if err := schedule.Play(ctx, sim.Between(b, a)); err != nil {
		log.Fatal(err)
	}
	short, cancelShort := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancelShort()
	err = s.Close(short) // which bob gets, and answers
	var e *quicpeer.Error
	fmt.Println("confirmed:", err == nil, errors.As(err, &e))
	fmt.Println(e.Cause)
	fmt.Println("answers that were lost:", sim.Counts(b, a).Blackholed > 0)

	_ = alice.Close(short) // whose time is over: at once
	_ = bob.Close(short)
	// Output:
	// confirmed: false true
	// timed out
	// answers that were lost: true
}
