package quicpeer

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/qlogwriter"
)

// connectionTracer is quic-go's hook for one connection's qlog.
type connectionTracer = func(ctx context.Context, isClient bool, id quic.ConnectionID) qlogwriter.Trace

// tracer writes a qlog file for each connection into the configured directory.
// Without a directory it is nil. A file that cannot be made, or be written to its
// end, is counted and logged, and that connection runs without.
func (e *Endpoint) tracer() connectionTracer {
	dir := e.config.QLogDir
	if dir == "" {
		dir = os.Getenv("QLOGDIR")
	}
	if dir == "" {
		return nil
	}
	return func(_ context.Context, isClient bool, id quic.ConnectionID) qlogwriter.Trace {
		side := "server"
		if isClient {
			side = "client"
		}
		f, err := createQLog(dir, fmt.Sprintf("%s_%s.sqlog", id, side), e.noQLog)
		if err != nil {
			e.noQLog(err)
			return nil
		}
		seq := qlogwriter.NewConnectionFileSeq(f, isClient, id)
		go seq.Run() // ends when the connection does
		return seq
	}
}

// noQLog counts one file, and logs now and then: a full disk is one problem, not
// one for each connection.
func (e *Endpoint) noQLog(err error) {
	e.counters.failedQLogs.Add(1)
	if n, ok := e.qlogs.next(time.Now(), 1); ok {
		e.log.Warn("connections have no qlog, or a part of one", "connections", n, "error", err)
	}
}

// createQLog makes a file that only its owner can read, since the tokens in it
// reset connections. It must be a new one: the client chooses the id that it is
// named after.
func createQLog(dir, name string, failed func(error)) (*qlogFile, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return newQLogFile(f, failed), nil
}

// qlogFile takes all that quic-go writes, also when the disk does not: quic-go
// would write its own line for each connection to the standard error, and say
// nothing of what fails at the end. One goroutine uses it.
type qlogFile struct {
	buffer *bufio.Writer // keeps its first error, and writes no more then
	file   *os.File
	failed func(error)
}

func newQLogFile(f *os.File, failed func(error)) *qlogFile {
	return &qlogFile{buffer: bufio.NewWriter(f), file: f, failed: failed}
}

func (f *qlogFile) Write(b []byte) (int, error) {
	_, _ = f.buffer.Write(b)
	return len(b), nil
}

// Close writes out what is buffered, and tells if anything has failed.
func (f *qlogFile) Close() error {
	err := f.buffer.Flush()
	if cerr := f.file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		f.failed(err)
	}
	return nil
}
