package session_test

import (
	"bytes"
	"fmt"
	"io"

	"github.com/oneportnet/quicpeer/session"
)

// A tool that shows what travels on a control stream reads its frames one by
// one.
func ExampleFrameReader() {
	var stream bytes.Buffer
	stream.Write(session.Open{Protocol: "chat"}.Append(nil))
	stream.Write(session.Unknown{Type: session.ReservedType(1)}.Append(nil))
	stream.Write(session.Close{Code: 0x101, Reason: "bye"}.Append(nil))

	r := session.NewFrameReader(&stream, session.Limits{})
	for {
		f, err := r.NextFrame()
		if err == io.EOF {
			return
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		switch f := f.(type) {
		case session.Open:
			fmt.Println(f.FrameType(), f.Protocol)
		case session.Close:
			fmt.Println(f.FrameType(), f.Code, f.Reason)
		}
	}
	// Output:
	// OPEN chat
	// CLOSE application code 0x101 bye
}

// Frames are values; the wire form is a slice of bytes.
func ExampleParseFrame() {
	b := session.SignalAck{Taken: 3}.Append(nil)
	fmt.Printf("% x\n", b)
	f, err := session.ParseFrame(session.TypeSignalAck, b[2:])
	fmt.Printf("%+v %v\n", f, err)
	// Output:
	// 14 01 03
	// {Taken:3} <nil>
}
