package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
)

// printer writes whole lines for any number of goroutines. A line is one
// write, so lines never mix. With a prompt, it keeps that below the output.
type printer struct {
	out, err io.Writer // set before use

	mu     sync.Mutex
	prompt string // "" for none
}

// linef prints a line. What peers have sent must have gone through clean.
func (p *printer) linef(format string, args ...any) {
	p.write(p.out, fmt.Sprintf(format, args...)+"\n")
}

// errorf prints a line to the error output.
func (p *printer) errorf(format string, args ...any) {
	p.write(p.err, fmt.Sprintf(format, args...)+"\n")
}

// erase goes back to the first column and erases the line, which is the prompt
// (ECMA-48 section 8.3.41, EL).
const erase = "\r\x1b[K"

// setPrompt shows a prompt from now on, in place of the one before; "" for
// none.
func (p *printer) setPrompt(prompt string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.prompt != "" {
		_, _ = io.WriteString(p.out, erase)
	}
	p.prompt = prompt
	_, _ = io.WriteString(p.out, prompt)
}

// ask shows the prompt again, after the user has entered a line.
func (p *printer) ask() { p.write(p.out, "") }

// write writes whole lines to w, the printer's own output or another stream.
func (p *printer) write(w io.Writer, s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.prompt == "" {
		_, _ = io.WriteString(w, s) // nothing is left to tell it to
		return
	}
	if w == p.out {
		_, _ = io.WriteString(w, erase+s+p.prompt)
		return
	}
	_, _ = io.WriteString(p.out, erase)
	_, _ = io.WriteString(w, s)
	_, _ = io.WriteString(p.out, p.prompt)
}

// errorLog is the error output as a writer of whole lines, for a log.
type errorLog struct{ p *printer }

func (l errorLog) Write(b []byte) (int, error) {
	l.p.write(l.p.err, string(b))
	return len(b), nil
}

// clean makes text from a peer fit for a terminal: control characters could
// move the cursor, recolor, or fake lines of this program.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	safe := func(r rune) bool { return r == '\t' || unicode.IsPrint(r) }
	if strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case safe(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	return b.String()
}
