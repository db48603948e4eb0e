package quicpeer

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/qlogwriter"
)

// connectionTracer is quic-go's hook for one connection's qlog.
type connectionTracer = func(ctx context.Context, isClient bool, id quic.ConnectionID) qlogwriter.Trace

// tracer writes a qlog file for each connection into the configured directory.
// Without a directory it is nil. A file that cannot be made is logged, and
// that connection runs without.
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
		f, err := createQLog(dir, fmt.Sprintf("%s_%s.sqlog", id, side))
		if err != nil {
			e.log.Warn("no qlog for this connection", "error", err)
			return nil
		}
		seq := qlogwriter.NewConnectionFileSeq(f, isClient, id)
		go seq.Run() // ends when the connection does
		return seq
	}
}

// createQLog makes a file that only its owner can read, since the tokens in it
// reset connections. It must be a new one: the client chooses the id that it is
// named after.
func createQLog(dir, name string) (*bufferedFile, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &bufferedFile{Writer: bufio.NewWriter(f), file: f}, nil
}

type bufferedFile struct {
	*bufio.Writer
	file *os.File
}

// Close writes out what is buffered.
func (f *bufferedFile) Close() error {
	err := f.Flush()
	if cerr := f.file.Close(); err == nil {
		err = cerr
	}
	return err
}
