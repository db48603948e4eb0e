package main

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/oneportnet/quicpeer/certs"
)

// shortID is the beginning of an id: enough to tell a few peers apart, not
// enough to trust one.
func shortID(id certs.PeerID) string { return id.String()[:8] }

// describe puts a report into words for the timeline; "" if it is not worth a
// line.
func (d *demoScript) describe(e demoEvent) string {
	switch e.Kind {
	case evStarted:
		return fmt.Sprintf("is process %d, with the id %s…", e.PID, shortID(e.ID))
	case evListening:
		if e.peer == d.carol.name {
			return fmt.Sprintf("opens port %d, serves nothing: a plain client", d.carol.port)
		}
		return fmt.Sprintf("listens on port %d, %s", d.process(e.peer).port, familiesText(e.Address))
	case evNotListening:
		return "cannot have that port, tries another: " + e.Error
	case evOpened:
		return d.describeOpened(e)
	case evDialFailed:
		if pair := d.pair(e.Session); pair != nil && pair.wrong != nil {
			return fmt.Sprintf("dials %s's port and expects %s there; it opens no session:\n%s", pair.to.name, pair.wrong.name, e.Error)
		}
		return "could not dial: " + e.Error
	case evTalked:
		return fmt.Sprintf("has sent %d messages and %d signals, all signals taken", e.Count, e.Signals)
	case evEnded:
		return d.describeEnded(e)
	case evQuit:
		if e.Error != "" {
			return "has shut down: " + e.Error
		}
		if e.Count == 0 {
			return "has shut down"
		}
		return fmt.Sprintf("has shut down, and with it %s; the other side confirmed", plural(e.Count, "session"))
	case evFailed:
		return "FAILED: " + e.Error
	case evExited:
		if e.Error != "" {
			return "process ended: " + e.Error
		}
	}
	return ""
}

func familiesText(address string) string {
	if a, err := netip.ParseAddrPort(address); err == nil && a.Addr().Is4() {
		return "IPv4 only"
	}
	return "IPv4 and IPv6 on one socket"
}

func (d *demoScript) describeOpened(e demoEvent) string {
	pair := d.pair(e.Session)
	if pair == nil || e.Opened == nil {
		return ""
	}
	remote, _ := netip.ParseAddrPort(e.Opened.Remote)
	if e.Opened.Dialed {
		took := time.Duration(e.At - e.Opened.Began).Round(10 * time.Microsecond)
		way := ""
		if pair.relayed {
			way = fmt.Sprintf(", through a relay that loses %d%% of the packets", d.loss)
		}
		return fmt.Sprintf("dialed %s over %s%s: open after %v", pair.to.name, pair.family, way, took)
	}
	if pair.relayed {
		return fmt.Sprintf("accepts %s over %s, from the relay's port %d", pair.from.name, pair.family, remote.Port())
	}
	return fmt.Sprintf("accepts %s over %s, from %s's port %d", pair.from.name, pair.family, pair.from.name, remote.Port())
}

func (d *demoScript) describeEnded(e demoEvent) string {
	pair, end := d.pair(e.Session), e.Ended
	if pair == nil || end == nil {
		return ""
	}
	other := pair.to
	if e.peer == other.name {
		other = pair.from
	}
	if !end.Closed {
		return fmt.Sprintf("session with %s over %s ended: %s", other.name, pair.family, end.Error)
	}
	counts := "the counts are not complete"
	if end.Complete {
		counts = fmt.Sprintf("lost: %d of %s's %d messages, %d of %s's %d",
			end.LostIn, other.name, end.TheySent, end.Lost, e.peer, end.Sent)
	}
	if end.Unsent > 0 {
		counts += fmt.Sprintf("; %d of %s's were never sent", end.Unsent, e.peer)
	}
	if !end.Remote {
		return fmt.Sprintf("closed the session with %s over %s; %s confirmed\n%s", other.name, pair.family, other.name, counts)
	}
	return fmt.Sprintf("%s closed the session over %s: code %#x, %q\n%s", other.name, pair.family, end.Code, clean(end.Reason), counts)
}
