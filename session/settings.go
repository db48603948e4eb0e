package session

import "github.com/quic-go/quic-go/quicvarint"

// Setting ids fixed by the specification (PROTOCOL.md, "SETTINGS").
const (
	settingInstanceID = 0x01
	settingMaxMessage = 0x02
	settingMaxSignal  = 0x03
	settingMaxSignals = 0x04
	settingWindow     = 0x05
)

// Settings is the first frame on a link stream: what its sender takes beyond
// the defaults. Zero means "not stated" for every number; the Or… methods put
// the default in its place.
type Settings struct {
	// InstanceID is random for every start of the process.
	InstanceID    [16]byte
	HasInstanceID bool

	MaxMessage uint64 // largest message, in bytes
	MaxSignal  uint64 // largest signal, in bytes
	MaxSignals uint64 // signals not yet taken by the application
	// Window is how many datagrams the other side may have under way. 0:
	// the other side keeps no window.
	Window uint64
}

// MaxMessageOrDefault returns the largest message that the sender of s takes.
// Settings only raise defaults, because nobody waits for them.
func (s Settings) MaxMessageOrDefault() uint64 { return max(s.MaxMessage, DefaultMaxMessage) }

// MaxSignalOrDefault returns the largest signal that the sender of s takes.
func (s Settings) MaxSignalOrDefault() uint64 { return max(s.MaxSignal, DefaultMaxSignal) }

// MaxSignalsOrDefault returns how many signals the sender of s lets be
// outstanding.
func (s Settings) MaxSignalsOrDefault() uint64 { return max(s.MaxSignals, DefaultMaxSignals) }

// Append appends the whole frame to b, with the ids in rising order.
func (s Settings) Append(b []byte) []byte {
	b, mark := beginFrame(b, TypeSettings)
	if s.HasInstanceID {
		b = quicvarint.Append(b, settingInstanceID)
		b = quicvarint.Append(b, uint64(len(s.InstanceID)))
		b = append(b, s.InstanceID[:]...)
	}
	b = appendSetting(b, settingMaxMessage, s.MaxMessage)
	b = appendSetting(b, settingMaxSignal, s.MaxSignal)
	b = appendSetting(b, settingMaxSignals, s.MaxSignals)
	b = appendSetting(b, settingWindow, s.Window)
	return endFrame(b, mark)
}

// appendSetting appends one setting that is an integer, if it is stated.
func appendSetting(b []byte, id, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = quicvarint.Append(b, id)
	b = quicvarint.Append(b, uint64(quicvarint.Len(v)))
	return quicvarint.Append(b, v)
}

// ParseSettings reads the value of a SETTINGS frame. Unknown ids are ignored,
// and so is what follows inside a known setting's value; a known id that comes
// twice is malformed.
func ParseSettings(value []byte) (Settings, error) {
	var s Settings
	var seen uint64 // bit i: id i has been read
	p := parser{t: TypeSettings, b: value}
	for len(p.b) > 0 && p.err == nil {
		id := p.varint("setting id")
		inner := parser{t: TypeSettings, b: p.bytes("setting value", frameRoom)}
		if p.err != nil {
			break
		}
		switch id {
		case settingInstanceID:
			copy(s.InstanceID[:], inner.fixed("instance id", len(s.InstanceID)))
			s.HasInstanceID = true
		case settingMaxMessage:
			s.MaxMessage = inner.varint("largest message")
		case settingMaxSignal:
			s.MaxSignal = inner.varint("largest signal")
		case settingMaxSignals:
			s.MaxSignals = inner.varint("outstanding signals")
		case settingWindow:
			s.Window = inner.varint("datagram window")
		default:
			continue
		}
		if seen&(1<<id) != 0 {
			p.fail("a setting comes twice")
		}
		seen |= 1 << id
		if p.err == nil {
			p.err = inner.err
		}
	}
	if err := p.error(); err != nil {
		return Settings{}, err
	}
	return s, nil
}
