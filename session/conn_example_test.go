package session

import (
	"bytes"
	"fmt"
	"net"
	"time"
)

// shout answers every message until the connection ends. It was written for
// connected UDP.
func shout(conn net.Conn) {
	buf := make([]byte, 1500)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(bytes.ToUpper(buf[:n])); err != nil {
			return
		}
	}
}

// ask sends a message and returns the answer. So was this.
func ask(conn net.Conn, message string) (string, error) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write([]byte(message)); err != nil {
		return "", err
	}
	buf := make([]byte, 1500)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

// Code for connected UDP runs on a session unchanged.
func ExampleSession_Conn() {
	// Over UDP.
	listener, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		panic(err)
	}
	client, err := net.DialUDP("udp", nil, listener.LocalAddr().(*net.UDPAddr))
	if err != nil {
		panic(err)
	}
	_ = listener.Close()
	server, err := net.DialUDP("udp", listener.LocalAddr().(*net.UDPAddr), client.LocalAddr().(*net.UDPAddr))
	if err != nil {
		panic(err)
	}
	go shout(server)
	fmt.Println(ask(client, "over udp"))
	_ = server.Close() // nothing tells it that the client has gone

	// Over a session, from an endpoint's Dial and Accept.
	dialed, accepted, stop := newTestSessions()
	defer stop()
	over := make(chan struct{})
	go func() {
		shout(accepted.Conn())
		close(over)
	}()
	fmt.Println(ask(dialed.Conn(), "over a session"))
	<-over // the client's Close has told it
	fmt.Println(accepted.Err())

	// Output:
	// OVER UDP <nil>
	// OVER A SESSION <nil>
	// session: closed by the peer (normal)
}
