package datagram

// stamped is datagrams that can be handled again and again: the number of each
// is written over.
type stamped struct {
	datagrams [][]byte
	kind      Kind
	number    uint64
}

// firstStamp is a number that takes as many bytes as those after it.
const firstStamp = 1 << 14

// newStamped makes datagrams of a kind, with these bodies.
func newStamped(kind Kind, bodies ...[]byte) *stamped {
	s := &stamped{kind: kind, number: firstStamp}
	for _, body := range bodies {
		s.datagrams = append(s.datagrams, append(AppendHeader(nil, Header{kind, firstStamp}), body...))
	}
	return s
}

// handle gives all of them to m.
func (s *stamped) handle(m *Mux) {
	for _, d := range s.datagrams {
		AppendHeader(d[:0], Header{s.kind, s.number})
		s.number++
		m.Handle(epoch, d)
	}
}

// inSessions makes the datagrams of a burst of so many messages of a size, the
// same number for each session: bundles of 20, or messages of their own.
func inSessions(messages, size, sessions int) *stamped {
	payload := make([]byte, size)
	var bodies [][]byte
	if size > 1000 {
		for i := range messages {
			bodies = append(bodies, append([]byte{byte(2 * (i % sessions))}, payload...))
		}
		return newStamped(KindMessage, bodies...)
	}
	for range messages / 20 {
		var body []byte
		for i := range 20 {
			body = AppendBundleItem(body, Message{uint64(2 * (i * sessions / 20)), payload})
		}
		bodies = append(bodies, body)
	}
	return newStamped(KindBundle, bodies...)
}
