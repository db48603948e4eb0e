package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/datagram"
	"github.com/oneportnet/quicpeer/quicpeer"
	"github.com/oneportnet/quicpeer/session"
)

// TestWire has a session captured and taken apart by Wireshark's dissector,
// which knows QUIC from elsewhere, and reads what it finds in the frames.
func TestWire(t *testing.T) {
	which := os.Getenv("QUICPEER_INTEROP")
	if which == "" {
		t.Skip("needs tshark and the right to capture: QUICPEER_INTEROP=available runs it")
	}
	for _, program := range []string{"tshark", "dumpcap"} {
		if _, err := exec.LookPath(program); err != nil {
			require.NotEqual(t, "all", which, "%v", err)
			t.Skip(err)
		}
	}
	t.Setenv("QUIC_GO_DISABLE_GSO", "true") // a batch would be captured as one packet
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	keys, err := os.Create(filepath.Join(t.TempDir(), "keys"))
	require.NoError(t, err)
	defer keys.Close()
	server, err := certs.Generate()
	require.NoError(t, err)
	client, err := certs.Generate()
	require.NoError(t, err)
	listener, err := quicpeer.Listen("127.0.0.1:0", &quicpeer.Config{Identity: server, Trust: certs.IDs(client.ID())})
	require.NoError(t, err)
	defer listener.Close(ctx) //nolint:errcheck // the capture has what matters
	dialer, err := quicpeer.Listen("127.0.0.1:0", &quicpeer.Config{Identity: client, KeyLogWriter: keys})
	require.NoError(t, err)

	port := listener.Addr().(*net.UDPAddr).Port
	stop := capture(t, port)
	listener.Handle("echo", func(in *session.Incoming) {
		s, err := in.Accept([]byte("welcome"))
		if err != nil {
			return
		}
		if b, err := s.ReceiveSignal(ctx); err == nil {
			_ = s.Signal(ctx, b)
		}
		for {
			if b, err := s.Receive(ctx); err != nil || s.Send(ctx, b) != nil {
				return
			}
		}
	})
	s, err := dialer.Dial(ctx, listener.Addr().String(), &quicpeer.DialOptions{Protocol: "echo", Metadata: []byte("v=1"), PeerID: server.ID()})
	require.NoError(t, err)
	require.NoError(t, s.Signal(ctx, []byte("save")))
	_, err = s.ReceiveSignal(ctx)
	require.NoError(t, err)
	large := bytes.Repeat([]byte("0123456789"), 200)
	n, err := s.SendBatch(ctx, [][]byte{[]byte("hello"), {}, []byte("there"), large}, session.SendOptions{})
	require.NoError(t, err)
	for range n {
		_, err := s.Receive(ctx)
		require.NoError(t, err)
	}
	require.NoError(t, s.CloseWithError(ctx, 0x123, "that is all"))
	require.NoError(t, dialer.Close(ctx))
	w := dissect(t, stop(), port, keys.Name())

	for _, side := range []wireSide{w.client, w.server} {
		require.Zero(t, side.streams[side.linkStream][0], "the type of the link stream")
		require.Equal(t, session.TypeSettings, frames(t, side.streams[side.linkStream][1:])[0], "its first frame")
		require.False(t, side.fins[side.linkStream], "the link stream never ends")
		require.True(t, side.fins[0], "the control stream does")
		for i, d := range side.datagrams {
			h, _, err := datagram.ParseHeader(d)
			require.NoError(t, err)
			require.Equal(t, uint64(i), h.Number, "every datagram counts")
		}
	}
	require.Equal(t, []session.FrameType{
		session.TypeOpen, session.TypeSignal, session.TypeSignalAck, session.TypeClose, session.TypeDone,
	}, frames(t, w.client.streams[0]))
	require.Equal(t, []session.FrameType{
		session.TypeAccept, session.TypeSignalAck, session.TypeSignal, session.TypeCloseAck,
	}, frames(t, w.server.streams[0]))
	require.Equal(t, "100904"+hex.EncodeToString([]byte("echo"))+"03"+hex.EncodeToString([]byte("v=1")),
		hex.EncodeToString(w.client.streams[0][:11]), "OPEN, byte for byte")
	require.Equal(t, append([][]byte{large}, []byte("hello"), nil, []byte("there")), messages(t, w.client.datagrams))
	require.Equal(t, []uint64{0}, w.server.closed, "CONNECTION_CLOSE, by the one that was told GOAWAY")
	require.Empty(t, w.client.closed)
}

// frames returns the types of the frames on a stream.
func frames(t *testing.T, stream []byte) (types []session.FrameType) {
	t.Helper()
	reader := session.NewFrameReader(bytes.NewReader(stream), session.Limits{})
	for {
		kind, value, err := reader.Next()
		if err == io.EOF {
			return types
		}
		require.NoError(t, err, "after %v", types)
		_, err = session.ParseFrame(kind, value)
		require.NoError(t, err)
		types = append(types, kind)
	}
}

// messages returns the messages in datagrams of the session 0: the fragmented
// one first.
func messages(t *testing.T, datagrams [][]byte) [][]byte {
	t.Helper()
	var whole [][]byte
	var pieces []byte
	for _, d := range datagrams {
		h, body, err := datagram.ParseHeader(d)
		require.NoError(t, err)
		switch h.Kind {
		case datagram.KindMessage:
			m, err := datagram.ParseMessage(body)
			require.NoError(t, err)
			whole = append(whole, m.Payload)
		case datagram.KindBundle:
			for len(body) > 0 {
				var m datagram.Message
				m, body, err = datagram.NextBundleItem(body)
				require.NoError(t, err)
				if m.Session == 0 {
					whole = append(whole, m.Payload)
				}
			}
		case datagram.KindFragment:
			f, err := datagram.ParseFragment(body)
			require.NoError(t, err)
			require.EqualValues(t, len(pieces), f.Offset)
			pieces = append(pieces, f.Payload...)
		}
	}
	for i := range whole {
		if len(whole[i]) == 0 {
			whole[i] = nil
		}
	}
	return append([][]byte{pieces}, whole...)
}

// capture captures what goes through a port until stop is called, which returns
// the file.
func capture(t *testing.T, port int) (stop func() string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "capture.pcapng")
	cmd := exec.Command("dumpcap", "-q", "-i", "lo", "-f", fmt.Sprintf("udp port %d", port), "-a", "duration:60", "-w", file)
	require.NoError(t, cmd.Start())
	ended := false
	t.Cleanup(func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	mark(t, file, port, "the capture begins")
	return func() string {
		mark(t, file, port, "the capture ends")
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		ended = true
		require.NoError(t, cmd.Wait(), "dumpcap")
		return file
	}
}

// mark sends a packet to a port until it is found in the capture: what was sent
// before is in there, then.
func mark(t *testing.T, file string, port int, text string) {
	t.Helper()
	conn, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", port))
	require.NoError(t, err)
	defer conn.Close()
	require.Eventually(t, func() bool {
		_, _ = conn.Write([]byte(text)) // an endpoint ignores what is not QUIC
		captured, err := os.ReadFile(file)
		return err == nil && bytes.Contains(captured, []byte(text))
	}, 10*time.Second, 50*time.Millisecond, "%s", text)
}

// wire is what was found in a capture.
type wire struct{ client, server wireSide }

type wireSide struct {
	linkStream uint64
	streams    map[uint64][]byte
	fins       map[uint64]bool
	datagrams  [][]byte
	closed     []uint64 // codes of CONNECTION_CLOSE
}

// A pdmlField is a node of what tshark prints.
type pdmlField struct {
	Name   string      `xml:"name,attr"`
	Show   string      `xml:"show,attr"`
	Value  string      `xml:"value,attr"`
	Fields []pdmlField `xml:",any"`
}

// find returns the fields of a name, wherever they are below.
func (f *pdmlField) find(name string) (found []*pdmlField) {
	for i := range f.Fields {
		if f.Fields[i].Name == name {
			found = append(found, &f.Fields[i])
		}
		found = append(found, f.Fields[i].find(name)...)
	}
	return found
}

// number returns the number in a field below; 0 if it is not there.
func (f *pdmlField) number(t *testing.T, name string) uint64 {
	t.Helper()
	for _, found := range f.find(name) {
		n, err := strconv.ParseUint(found.Show, 0, 64)
		require.NoError(t, err, "%s", name)
		return n
	}
	return 0
}

func (f *pdmlField) bytes(t *testing.T, name string) (b []byte) {
	t.Helper()
	for _, found := range f.find(name) {
		b, err := hex.DecodeString(strings.ReplaceAll(found.Show, ":", ""))
		require.NoError(t, err, "%s", name)
		return b
	}
	return nil
}

// dissect has tshark take a capture apart.
func dissect(t *testing.T, file string, port int, keys string) wire {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "tshark", "-r", file, "-o", "tls.keylog_file:"+keys,
		"-d", fmt.Sprintf("udp.port==%d,quic", port), "-Y", "quic", "-T", "pdml")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, "%s", errs.String())
	var root pdmlField
	require.NoError(t, xml.Unmarshal(out, &root))
	newSide := func(link uint64) wireSide {
		return wireSide{linkStream: link, streams: map[uint64][]byte{}, fins: map[uint64]bool{}}
	}
	w := wire{newSide(2), newSide(3)}
	for i := range root.Fields {
		packet := &root.Fields[i]
		side := &w.client
		if packet.number(t, "udp.srcport") == uint64(port) {
			side = &w.server
		}
		for _, frame := range packet.find("quic.frame") {
			side.add(t, frame)
		}
	}
	return w
}

func (s *wireSide) add(t *testing.T, frame *pdmlField) {
	t.Helper()
	switch kind := frame.number(t, "quic.frame_type"); {
	case kind >= 0x08 && kind <= 0x0f: // STREAM
		id := frame.number(t, "quic.stream.stream_id")
		offset := frame.number(t, "quic.stream.offset")
		data := frame.bytes(t, "quic.stream_data")
		known := uint64(len(s.streams[id]))
		require.LessOrEqual(t, offset, known, "stream %d has a gap", id)
		if fresh := known - offset; fresh < uint64(len(data)) { // else it was sent again
			s.streams[id] = append(s.streams[id], data[fresh:]...)
		}
		s.fins[id] = s.fins[id] || kind&1 != 0
	case kind == 0x30 || kind == 0x31: // DATAGRAM
		s.datagrams = append(s.datagrams, slices.Clone(frame.bytes(t, "quic.dg")))
	case kind == 0x1d: // CONNECTION_CLOSE
		s.closed = append(s.closed, frame.number(t, "quic.cc.error_code.app"))
	}
}
