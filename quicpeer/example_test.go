package quicpeer_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/quicpeer"
)

// Two endpoints in one process: one answers every message, the other asks and
// then closes, and knows that the first one knows why.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	alice, err := quicpeer.Listen("127.0.0.1:0", nil) // trusts whom it dials by id
	if err != nil {
		log.Fatal(err)
	}
	bob, err := quicpeer.Listen("127.0.0.1:0", &quicpeer.Config{Trust: certs.IDs(alice.ID())})
	if err != nil {
		log.Fatal(err)
	}
	over := make(chan error)
	bob.Handle("echo", func(in *quicpeer.Incoming) {
		s, err := in.Accept(nil)
		for err == nil {
			var msg []byte
			if msg, err = s.Receive(ctx); err == nil {
				err = s.Send(ctx, msg) // unreliable: it may be lost
			}
		}
		over <- err
	})

	s, err := alice.Dial(ctx, bob.Addr().String(), &quicpeer.DialOptions{Protocol: "echo", PeerID: bob.ID()})
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Send(ctx, []byte("hello")); err != nil {
		log.Fatal(err)
	}
	msg, err := s.Receive(ctx)
	fmt.Printf("alice got %q, %v\n", msg, err)
	fmt.Println("alice's close confirmed:", s.CloseWithError(ctx, 0x100, "had enough") == nil)
	fmt.Println("bob knows:", <-over)

	_ = alice.Close(ctx)
	_ = bob.Close(ctx)
	// Output:
	// alice got "hello", <nil>
	// alice's close confirmed: true
	// bob knows: session: closed by the peer (application code 0x100): had enough
}

func ExampleEndpoint_Accept() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	server, err := quicpeer.Listen("127.0.0.1:0", &quicpeer.Config{
		Trust:     certs.Anyone(),
		Protocols: []string{"chat"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close(ctx)
	client, err := quicpeer.Listen("127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)

	go func() {
		in, err := server.Accept(ctx)
		if err != nil {
			return
		}
		if string(in.Metadata()) != "room 7" {
			_ = in.Reject(0x101, "no such room", 0)
			return
		}
		_, _ = in.Accept([]byte("welcome"))
	}()
	_, err = client.Dial(ctx, server.Addr().String(), &quicpeer.DialOptions{
		Protocol: "chat", Metadata: []byte("room 8"), PeerID: server.ID(),
	})
	var e *quicpeer.Error
	fmt.Println(errors.As(err, &e), e.Code == 0x101, e.Reason)
	// Output: true true no such room
}
