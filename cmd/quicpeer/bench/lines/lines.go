// Package lines is what the programs of a benchmark have in common: the lines of
// text by which `quicpeer bench` tells them what to do and they answer
// (integration_test/baselines/README.md). A program says how to serve, connect,
// send and receive; this package does the rest.
package lines

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The first byte of a message says what its receiver does with it.
const (
	KindIgnore = 0 // nothing
	KindCount  = 1 // count it
	KindEcho   = 2 // send it back
)

// Program is what is measured.
type Program interface {
	// Serve begins to serve on a port of 127.0.0.1, and returns its address.
	// It counts messages of KindCount and sends those of KindEcho back, until
	// ctx ends.
	Serve(ctx context.Context, c *Counter) (net.Addr, error)
	// Connect connects to a serving program.
	Connect(ctx context.Context, address string) (Peer, error)
}

// Peer is one connection to a serving program. Send and Receive may be called at
// the same time.
type Peer interface {
	// Settle waits until datagrams have the size that the path takes, a second
	// at most, and returns it.
	Settle(ctx context.Context) (int, error)
	// MaxMessage is the largest message that Send takes; longer ones are sent
	// in pieces.
	MaxMessage() int
	Send(ctx context.Context, message []byte) error
	// Receive returns the next message, in buf if it likes.
	Receive(ctx context.Context, buf []byte) ([]byte, error)
	// Close ends the connection in order.
	Close(ctx context.Context) error
}

// Mode is a further thing that a program can do. args are those after the
// address; commands are the lines of its standard input.
type Mode func(ctx context.Context, peer Peer, args []int, commands <-chan string, out *Output) error

// Counter counts what the receiving application has taken. Safe for concurrent
// use.
type Counter struct {
	messages, bytes atomic.Uint64
}

// Add counts messages of so many bytes together.
func (c *Counter) Add(messages, bytes int) {
	c.messages.Add(uint64(messages))
	c.bytes.Add(uint64(bytes))
}

// Output writes lines. Safe for concurrent use.
type Output struct {
	mu sync.Mutex
	w  io.Writer
}

// Printf writes one line.
func (o *Output) Printf(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Fprintf(o.w, format+"\n", args...)
}

// Usage is an error of those who start the program.
type Usage string

func (u Usage) Error() string { return string(u) }

var clock = time.Now() // what NANOSECONDS counts from

const usage = Usage("want: serve | flood ADDRESS SIZE | ping ADDRESS SIZE COUNT")

// Run does what args say until in ends. modes are those besides serve, flood and
// ping.
func Run(ctx context.Context, p Program, modes map[string]Mode, args []string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if len(args) == 0 {
		return usage
	}
	stop, err := profile(args[0])
	if err != nil {
		return err
	}
	defer stop()
	commands := make(chan string)
	go func() { // ends with the process: standard input cannot be interrupted
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			commands <- strings.TrimSpace(lines.Text())
		}
		close(commands)
	}()
	o := &Output{w: out}
	if len(args) == 1 && args[0] == "serve" {
		return serve(ctx, p, commands, o)
	}
	if len(args) < 2 {
		return usage
	}
	mode := map[string]Mode{"flood": FloodMode, "ping": ping}[args[0]]
	if mode == nil {
		mode = modes[args[0]]
	}
	if mode == nil {
		return Usage(fmt.Sprintf("there is nothing called %q to do", args[0]))
	}
	var numbers []int
	for _, a := range args[2:] {
		n, err := strconv.Atoi(a)
		if err != nil || n < 0 {
			return Usage(fmt.Sprintf("%q is not a number", a))
		}
		numbers = append(numbers, n)
	}
	peer, err := p.Connect(ctx, args[1])
	if err != nil {
		return err
	}
	if err := mode(ctx, peer, numbers, commands, o); err != nil {
		return err
	}
	for range commands { // until the end: the other side may still be counting
	}
	closing, done := context.WithTimeout(ctx, 2*time.Second)
	defer done()
	_ = peer.Close(closing) // everything was measured before
	return nil
}

func serve(ctx context.Context, p Program, commands <-chan string, out *Output) error {
	var c Counter
	addr, err := p.Serve(ctx, &c)
	if err != nil {
		return err
	}
	out.Printf("listening %s", addr)
	for command := range commands {
		switch command {
		case "count":
			out.Printf("count %d %d %d", c.messages.Load(), c.bytes.Load(), time.Since(clock).Nanoseconds())
		case "memory":
			out.Printf("memory %d", Memory())
		default:
			return Usage(fmt.Sprintf("unknown command %q", command))
		}
	}
	return nil
}

// Await waits for a command.
func Await(commands <-chan string, want string) error {
	if got, ok := <-commands; !ok || got != want {
		return Usage(fmt.Sprintf("want the command %q, got %q", want, got))
	}
	return nil
}

// Pieces cuts a message of so many bytes into pieces that a datagram takes.
func Pieces(kind byte, size, most int) [][]byte {
	var pieces [][]byte
	for size > 0 {
		piece := make([]byte, min(size, most))
		piece[0] = kind
		pieces = append(pieces, piece)
		size -= len(piece)
	}
	return pieces
}

// FloodMode is what every program does for flood.
func FloodMode(ctx context.Context, peer Peer, args []int, commands <-chan string, out *Output) error {
	if len(args) != 1 || args[0] < 1 {
		return Usage("want: flood ADDRESS SIZE")
	}
	if err := Ready(ctx, peer, commands, out); err != nil {
		return err
	}
	pieces := Pieces(KindCount, args[0], peer.MaxMessage())
	var stop atomic.Bool
	stopped := make(chan error, 1)
	go func() {
		err := Await(commands, "stop")
		stop.Store(true)
		stopped <- err
	}()
	messages, bytes := Flood(ctx, peer, pieces, &stop)
	if err := <-stopped; err != nil {
		return err
	}
	out.Printf("sent %d %d", messages, bytes)
	return nil
}

// Batcher is a Peer that can send several messages with one call.
type Batcher interface {
	SendBatch(ctx context.Context, messages [][]byte) (int, error)
}

// batchSize is how many messages a Batcher gets at once.
const batchSize = 32

// Flood sends the pieces of a message again and again until stop is set.
func Flood(ctx context.Context, peer Peer, pieces [][]byte, stop *atomic.Bool) (messages, bytes uint64) {
	if b, ok := peer.(Batcher); ok {
		return floodBatches(ctx, b, pieces, stop)
	}
	for !stop.Load() {
		for _, b := range pieces {
			if peer.Send(ctx, b) != nil {
				return messages, bytes
			}
			messages++
			bytes += uint64(len(b))
		}
	}
	return messages, bytes
}

func floodBatches(ctx context.Context, peer Batcher, pieces [][]byte, stop *atomic.Bool) (messages, bytes uint64) {
	var batch [][]byte
	for len(batch) < batchSize {
		batch = append(batch, pieces...)
	}
	size := 0
	for _, b := range batch {
		size += len(b)
	}
	for !stop.Load() {
		n, err := peer.SendBatch(ctx, batch)
		if err != nil {
			return messages, bytes
		}
		messages += uint64(n)
		bytes += uint64(size)
	}
	return messages, bytes
}

// answerTime is how long an answer is waited for: far longer than it takes.
const answerTime = 200 * time.Millisecond

func ping(ctx context.Context, peer Peer, args []int, commands <-chan string, out *Output) error {
	if len(args) != 2 || args[0] < 1 {
		return Usage("want: ping ADDRESS SIZE COUNT")
	}
	if err := Ready(ctx, peer, commands, out); err != nil {
		return err
	}
	message, buf := make([]byte, args[0]), make([]byte, 1<<16)
	message[0] = KindEcho
	took := make([]time.Duration, args[1]) // printed afterwards: not to disturb
	for i := range took {
		d, err := roundTrip(ctx, peer, message, buf)
		if err != nil {
			return err
		}
		took[i] = d
	}
	for _, d := range took {
		if d < 0 {
			out.Printf("rtt lost")
		} else {
			out.Printf("rtt %d", d.Nanoseconds())
		}
	}
	out.Printf("done")
	return nil
}

// roundTrip returns how long the answer took, or -1 if none came.
func roundTrip(ctx context.Context, peer Peer, message, buf []byte) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	begun := time.Now()
	if err := peer.Send(ctx, message); err != nil {
		return 0, err
	}
	_, err := peer.Receive(ctx, buf)
	if errors.Is(err, context.DeadlineExceeded) {
		return -1, nil
	}
	return time.Since(begun), err
}
