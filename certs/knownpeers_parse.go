package certs

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What this implementation chose.
const (
	// 253 for a DNS name (RFC 1035, section 2.3.4, without the final dot), one
	// for the colon, five for the port, one to spare.
	maxName = 260
)

// knownPeers is the content of a file. Names are canonical.
type knownPeers struct {
	names map[string]knownPeer
	ids   map[PeerID]struct{}
}

type knownPeer struct {
	id   PeerID
	line int
}

// parseKnownPeers reads all lines or none. path is for the errors.
func parseKnownPeers(path string, data []byte) (*knownPeers, error) {
	known := &knownPeers{names: map[string]knownPeer{}, ids: map[PeerID]struct{}{}}
	line := 0
	for text := range bytes.Lines(data) {
		line++
		name, id, err := parseKnownPeer(string(text))
		if err != nil {
			return nil, &KnownPeersFileError{Path: path, Line: line, Problem: "unreadable", Err: err}
		}
		if name == "" {
			continue
		}
		if before, ok := known.names[name]; ok {
			return nil, &KnownPeersFileError{Path: path, Line: line, Problem: fmt.Sprintf("%q is already in line %d, and a name has one id", name, before.line)}
		}
		known.names[name] = knownPeer{id, line}
		known.ids[id] = struct{}{}
	}
	return known, nil
}

// parseKnownPeer reads a line. The name is "" if there is nothing in it.
func parseKnownPeer(text string) (name string, id PeerID, err error) {
	text, _, _ = strings.Cut(text, "#")
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return "", id, nil
	}
	if len(fields) != 2 {
		return "", id, fmt.Errorf("a line is a name and a peer id, not %d fields", len(fields))
	}
	if name, err = canonicalName(fields[0]); err != nil {
		return "", id, err
	}
	if id, err = ParsePeerID(fields[1]); err != nil {
		return "", id, err
	}
	if id.IsZero() {
		return "", id, errors.New("the zero id is nobody's")
	}
	return name, id, nil
}

// canonicalName returns the one form of a dialed name that the file has it
// under: an address as netip writes it, IPv4 in IPv6 as IPv4; a host name in
// lower case without the final dot; the port, if any, as it is.
func canonicalName(name string) (string, error) {
	if name == "" {
		return "", errors.New("certs: known peers need the name dialed, and there is none")
	}
	if len(name) > maxName || !utf8.ValidString(name) {
		return "", fmt.Errorf("certs: %.300q is not a host name or address", name)
	}
	host, port := splitName(name)
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	} else {
		host = strings.ToLower(strings.TrimRight(host, "."))
		if host == "" || strings.ContainsAny(host, ":[]") {
			return "", fmt.Errorf("certs: %q is not a host name or address", name)
		}
	}
	if port != "" {
		host = net.JoinHostPort(host, port)
	}
	// What would end the name, or hide something in it, when written to the
	// file.
	for _, r := range host {
		if r == '#' || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return "", fmt.Errorf("certs: %q cannot be the name of a known peer: it has %q in it", name, r)
		}
	}
	return host, nil
}
