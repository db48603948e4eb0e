package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/oneportnet/quicpeer/certs"
	"github.com/oneportnet/quicpeer/session"
)

// verb is what a line asks for.
type verb int

const (
	verbNone   verb = iota // an empty line
	verbSay                // text, as a message
	verbSignal             // text, as a signal
	verbDial               // target
	verbList
	verbStats
	verbPing
	verbTrust // text
	verbID
	verbClose // code, reason in text
	verbHelp
	verbQuit // reason in text
)

// everySession stands for all sessions in chatLine.session.
const everySession = 0

// chatLine is one line that the user has entered.
type chatLine struct {
	verb    verb
	session int // its number, or everySession
	chosen  bool
	text    string
	target  dialTarget
	code    session.Code
}

const chatHelp = `A line goes to all open sessions, as a message: quick, but it may get lost.
  /to N TEXT                 to one session alone; /to N /signal TEXT works too
  /signal TEXT               as a signal: reliable, in order; you are told when it was taken
  /dial HOST:PORT[#PEERID]   open a session; with a peer id, only with that peer
  /list                      the open sessions
  /stats [N]                 what was sent, received and lost
  /ping [N]                  measure the round trip
  /trust PEERID              let a peer in; also known, known:FILE, ca:FILE
  /close [N|all] [CODE] [REASON]
                             end a session; codes are 0 or from 0x100 up
  /id                        your own peer id
  /quit [REASON]             end all sessions, and the program (Ctrl-D and Ctrl-C too)
  //TEXT                     a message that begins with a slash`

// parseLine reads what the user has entered.
func parseLine(line string) (chatLine, error) {
	switch {
	case strings.TrimSpace(line) == "":
		return chatLine{}, nil
	case strings.HasPrefix(line, "//"):
		return chatLine{verb: verbSay, text: line[1:]}, nil
	case !strings.HasPrefix(line, "/"):
		return chatLine{verb: verbSay, text: line}, nil
	}
	name, rest := cutWord(line)
	switch name {
	case "/to":
		return parseTo(rest)
	case "/signal":
		return wantText(chatLine{verb: verbSignal, text: rest}, "/signal TEXT")
	case "/dial":
		target, err := parseTarget(rest)
		return chatLine{verb: verbDial, target: target}, err
	case "/trust":
		return wantText(chatLine{verb: verbTrust, text: rest}, "/trust PEERID")
	case "/close":
		return parseClose(rest)
	case "/stats":
		return parseNumbered(verbStats, rest)
	case "/ping":
		return parseNumbered(verbPing, rest)
	case "/quit", "/exit":
		return chatLine{verb: verbQuit, text: rest}, checkReason(rest)
	}
	alone := map[string]verb{"/list": verbList, "/id": verbID, "/help": verbHelp, "/?": verbHelp}
	v, ok := alone[name]
	switch {
	case !ok:
		return chatLine{}, fmt.Errorf("there is no command %s; /help lists them, and //TEXT sends a text that begins with a slash", name)
	case rest != "":
		return chatLine{}, fmt.Errorf("%s takes nothing after it", name)
	}
	return chatLine{verb: v}, nil
}

// cutWord splits off the first word.
func cutWord(s string) (word, rest string) {
	word, rest, _ = strings.Cut(strings.TrimLeft(s, " \t"), " ")
	return word, strings.TrimSpace(rest)
}

func wantText(l chatLine, usage string) (chatLine, error) {
	if l.text == "" {
		return chatLine{}, errors.New("something is missing: " + usage)
	}
	return l, nil
}

func parseTo(rest string) (chatLine, error) {
	const usage = "/to N TEXT"
	word, text := cutWord(rest)
	n, err := parseNumber(word)
	if err != nil {
		return chatLine{}, fmt.Errorf("%w: %s", err, usage)
	}
	l, err := parseLine(text)
	switch {
	case err != nil:
		return chatLine{}, err
	case l.verb == verbNone:
		return chatLine{}, errors.New("something is missing: " + usage)
	case l.verb != verbSay && l.verb != verbSignal || l.chosen:
		return chatLine{}, errors.New("/to is for messages and signals: /to N TEXT, /to N /signal TEXT")
	}
	l.session, l.chosen = n, true
	return l, nil
}

func parseNumbered(v verb, rest string) (chatLine, error) {
	if rest == "" {
		return chatLine{verb: v}, nil
	}
	n, err := parseNumber(rest)
	return chatLine{verb: v, session: n, chosen: true}, err
}

func parseNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not the number of a session; /list shows them", s)
	}
	return n, nil
}

func parseClose(rest string) (chatLine, error) {
	l := chatLine{verb: verbClose}
	if rest == "" {
		return l, nil
	}
	which, rest := cutWord(rest)
	l.chosen = true
	if which != "all" {
		n, err := parseNumber(which)
		if err != nil {
			return chatLine{}, fmt.Errorf("%w: /close [N|all] [CODE] [REASON]", err)
		}
		l.session = n
	}
	if rest == "" {
		return l, nil
	}
	word, reason := cutWord(rest)
	code, err := strconv.ParseUint(word, 0, 62)
	if err != nil {
		return chatLine{}, fmt.Errorf("%q is not a code; codes are numbers, and come before the reason: /close [N|all] [CODE] [REASON]", word)
	}
	l.code, l.text = session.Code(code), reason
	if l.code != session.CodeNormal && !l.code.IsApplication() {
		return chatLine{}, fmt.Errorf("the code %#x belongs to the protocol; yours are 0 and those from %#x up", code, uint64(session.FirstApplicationCode))
	}
	return l, checkReason(reason)
}

func checkReason(reason string) error {
	if len(reason) > session.MaxReason {
		return fmt.Errorf("a reason may have %d bytes, this one has %d", session.MaxReason, len(reason))
	}
	return nil
}

// dialTarget is where to dial, and who must be there.
type dialTarget struct {
	address string
	id      certs.PeerID // zero: whoever is trusted
}

// parseTarget reads HOST:PORT[#PEERID].
func parseTarget(s string) (dialTarget, error) {
	address, id, pinned := strings.Cut(strings.TrimSpace(s), "#")
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return dialTarget{}, fmt.Errorf("%q is not HOST:PORT, as in 192.0.2.7:9000, [2001:db8::7]:9000 or example.org:9000", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return dialTarget{}, fmt.Errorf("%q: the port %q is not a number from 1 to 65535", address, port)
	}
	t := dialTarget{address: address}
	if pinned {
		if t.id, err = certs.ParsePeerID(id); err != nil {
			return dialTarget{}, fmt.Errorf("what follows # in %q: %w", s, err)
		}
	}
	return t, nil
}
