package quicpeer

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// What this implementation has chosen.
const (
	// quickReads is how many reads may fail in a row before there are pauses: such
	// errors may each be of one packet, with others behind it. Then each pause is
	// used samePauses times, before it doubles from 1 ms on.
	quickReads, samePauses = 32, 8
	// maxReadWait is the longest pause between reads that fail. A system that has
	// no memory gets some time, and one that fails for good costs ten calls a second.
	maxReadWait = 100 * time.Millisecond
	// faultLogEvery is how often a fault that lasts is logged.
	faultLogEvery = 10 * time.Second
	// maxFailedAddrs bounds for how many addresses the last error is kept.
	maxFailedAddrs = 1024
)

// socketFaults is where the errors of the endpoint's socket end. quic-go gives up
// a connection when one of its packets is not sent, and all of them when one read
// fails. But what a system says of one packet holds for that moment: a queue
// is full, an interface is down, a firewall is being loaded. Such a packet is
// lost, as others are on their way, and counted; QUIC's timers and our heartbeats
// find out how long that lasts. Reads are tried again. Only errors that mean the
// end of the socket go through to quic-go, and those that it has a use for.
//
// Safe for concurrent use. It costs nothing while all goes well.
type socketFaults struct {
	log         *slog.Logger
	dropped     [problems]atomic.Uint64 // packets not sent
	failedReads atomic.Uint64
	sendLog     *seldom
	readLog     *seldom
	stopped     chan struct{} // closed when reads shall not be tried again
	stopOnce    sync.Once

	mu    sync.Mutex
	last  map[netip.AddrPort]sendFailure // at most maxFailedAddrs
	dials map[netip.AddrPort]map[*dialWatch]struct{}
}

// sendFailure is the last packet that was not sent to an address.
type sendFailure struct {
	err error
	at  time.Time
}

func newSocketFaults(log *slog.Logger) *socketFaults {
	return &socketFaults{
		log: log, sendLog: newSeldom(1, faultLogEvery), readLog: newSeldom(1, faultLogEvery),
		stopped: make(chan struct{}),
		last:    make(map[netip.AddrPort]sendFailure),
		dials:   make(map[netip.AddrPort]map[*dialWatch]struct{}),
	}
}

// stop makes failing reads end. It may be called again.
func (f *socketFaults) stop() { f.stopOnce.Do(func() { close(f.stopped) }) }

// notSent judges the error of a write of n bytes, cut in segments of a size if
// that is not 0, and returns what quic-go shall see: nil if they count as lost.
// write writes them once more.
func (f *socketFaults) notSent(err error, to net.Addr, n, size int, write func() error) error {
	errno, passing := passingErrno(err)
	if passing && errno == syscall.EPERM {
		// Linux says so now and then of a socket's first packet, and means
		// nothing by it (golang.org/issue/63322). What a firewall says holds.
		if err = write(); err == nil {
			return nil
		}
		errno, passing = passingErrno(err)
	}
	if !passing || size > 0 && errno == syscall.EIO {
		return err // quic-go sends segments one by one if a device cannot cut them
	}
	problem, packets := sendProblems[errno], packetsIn(n, size)
	f.dropped[problem].Add(packets)
	if problem == problemTooLarge && seesTooLarge {
		return err // quic-go looks for the largest packet that can be sent
	}
	f.remember(addrPort(to), err, problem)
	if n, ok := f.sendLog.next(time.Now(), packets); ok {
		f.log.Warn("packets are not sent, and count as lost", "packets", n, "remote", to, "error", err)
	}
	return nil
}

// remember keeps the error for lastTo, and ends the dials of that address, unless
// it is one that sending less, or less at once, would help against.
func (f *socketFaults) remember(to netip.AddrPort, err error, problem sendProblem) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.last) >= maxFailedAddrs {
		clear(f.last)
	}
	f.last[to] = sendFailure{err, time.Now()}
	if problem == problemNoBuffer || problem == problemTooLarge {
		return
	}
	for d := range f.dials[to] {
		d.cancel(err)
	}
}

// lastTo returns why the last packet to an address that was not sent was not; nil
// if there was none since then.
func (f *socketFaults) lastTo(to netip.AddrPort, since time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last, ok := f.last[to]; ok && last.at.After(since) {
		return last.err
	}
	return nil
}

// dialWatch is a handshake under way.
type dialWatch struct{ cancel context.CancelCauseFunc }

// watchDial returns a context that ends with the socket's error when a packet to
// an address cannot be sent: whoever dials then knows at once, and tries the next
// address. The function returned ends it.
func (f *socketFaults) watchDial(ctx context.Context, to netip.AddrPort) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	d := &dialWatch{cancel}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dials[to] == nil {
		f.dials[to] = make(map[*dialWatch]struct{})
	}
	f.dials[to][d] = struct{}{}
	return ctx, func() {
		f.mu.Lock()
		if delete(f.dials[to], d); len(f.dials[to]) == 0 {
			delete(f.dials, to)
		}
		f.mu.Unlock()
		cancel(nil)
	}
}

// again judges the error of a read, the so-manieth in a row from 0 on, and reports
// whether to read again. It waits before that, longer each time.
func (f *socketFaults) again(err error, row int) bool {
	errno, passing := passingErrno(err)
	if !passing || errno == windowsTooLarge {
		return false // or quic-go knows better: it reads on
	}
	select {
	case <-f.stopped:
		return false
	default:
	}
	f.failedReads.Add(1)
	if n, ok := f.readLog.next(time.Now(), 1); ok {
		f.log.Warn("reading from the socket fails, and is tried again", "times", n, "error", err)
	}
	if row < quickReads {
		return true
	}
	timer := time.NewTimer(min(time.Millisecond<<min((row-quickReads)/samePauses, 10), maxReadWait))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-f.stopped:
		return false
	}
}

// fill adds the counts to those of the socket.
func (f *socketFaults) fill(s SocketStats) SocketStats {
	s.NotSent = NotSentStats{
		NoBuffer:     f.dropped[problemNoBuffer].Load(),
		NotPermitted: f.dropped[problemNotPermitted].Load(),
		Unreachable:  f.dropped[problemUnreachable].Load(),
		TooLarge:     f.dropped[problemTooLarge].Load(),
		Other:        f.dropped[problemOther].Load(),
	}
	s.FailedReads = f.failedReads.Load()
	return s
}
