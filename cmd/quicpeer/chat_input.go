package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// inputLine is a line of the input, or why there are no more.
type inputLine struct {
	text string
	err  error
}

// maxLine bounds a line of the input, in bytes: more than any peer takes in
// one message by default, so that those get the proper error.
const maxLine = 1 << 20

// endOfInput is the reason that peers learn when the input ends.
const endOfInput = errQuit("end of input")

// readLines reads lines until ctx ends. Its goroutine cannot be called back
// from a read; it goes with the process at the latest.
func readLines(ctx context.Context, in io.Reader) <-chan inputLine {
	lines := make(chan inputLine)
	emit := func(l inputLine) bool {
		select {
		case lines <- l:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		scanner := bufio.NewScanner(in)
		scanner.Buffer(nil, maxLine)
		for scanner.Scan() {
			if !emit(inputLine{text: scanner.Text()}) {
				return
			}
		}
		switch err := scanner.Err(); {
		case err == nil:
			emit(inputLine{err: endOfInput})
		case errors.Is(err, bufio.ErrTooLong):
			emit(inputLine{err: fmt.Errorf("a line of the input has more than %d bytes", maxLine)})
		default:
			emit(inputLine{err: fmt.Errorf("cannot read the input: %w", err)})
		}
	}()
	return lines
}

// isTerminal reports whether a user is likely to sit there. The null device is
// a character device too.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
