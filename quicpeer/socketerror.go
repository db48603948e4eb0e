package quicpeer

import (
	"errors"
	"runtime"
	"syscall"
)

// sendProblem sorts the reasons for which a system does not take a packet.
type sendProblem uint8

const (
	problemOther        sendProblem = iota
	problemNoBuffer                 // memory or a queue is full: sending less helps
	problemNotPermitted             // a firewall's rule, on this machine
	problemUnreachable              // no route, no address, or the interface is down
	problemTooLarge                 // for the interface or the path
	problems                        // how many there are
)

func (p sendProblem) String() string {
	return [problems]string{"other", "no buffer", "not permitted", "unreachable", "too large"}[p]
}

// sendProblems sorts what systems answer. Windows has numbers of its own
// (WSAEACCES and others), which package syscall does not map; no other system has
// errors of so high a number.
var sendProblems = map[syscall.Errno]sendProblem{
	syscall.ENOBUFS: problemNoBuffer, syscall.ENOMEM: problemNoBuffer, syscall.EAGAIN: problemNoBuffer,
	syscall.EPERM: problemNotPermitted, syscall.EACCES: problemNotPermitted,
	syscall.ENETUNREACH: problemUnreachable, syscall.EHOSTUNREACH: problemUnreachable,
	syscall.ENETDOWN: problemUnreachable, syscall.EADDRNOTAVAIL: problemUnreachable,
	syscall.EAFNOSUPPORT: problemUnreachable, syscall.ENODEV: problemUnreachable,
	syscall.EMSGSIZE: problemTooLarge,

	10055:               problemNoBuffer,
	windowsNotPermitted: problemNotPermitted,
	10047:               problemUnreachable, // WSAEAFNOSUPPORT
	10049:               problemUnreachable, // WSAEADDRNOTAVAIL
	10050:               problemUnreachable, // WSAENETDOWN
	10051:               problemUnreachable, // WSAENETUNREACH
	10065:               problemUnreachable, // WSAEHOSTUNREACH
	windowsTooLarge:     problemTooLarge,
}

// seesTooLarge is whether quic-go tells a packet that is too large from a socket
// that has failed. Where it does not, it looks for no larger packets either.
const seesTooLarge = runtime.GOOS == "linux" || runtime.GOOS == "android" || runtime.GOOS == "windows" ||
	runtime.GOOS == "darwin" || runtime.GOOS == "ios"

const (
	windowsTooLarge  = syscall.Errno(10040) // WSAEMSGSIZE
	windowsNoHandle  = syscall.Errno(6)     // ERROR_INVALID_HANDLE
	windowsNotSocket = syscall.Errno(10038) // WSAENOTSOCK
)

// passingErrno returns the system's error in err if it may pass: any but those
// that say that there is no such socket, or that it is called wrongly. Errors of
// other kinds, such as net.ErrClosed, do not pass.
func passingErrno(err error) (syscall.Errno, bool) {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return 0, false
	}
	switch errno {
	case syscall.EBADF, syscall.ENOTSOCK, syscall.EFAULT, windowsNotSocket:
		return errno, false
	case windowsNoHandle: // elsewhere ENXIO: the interface is gone
		return errno, errno == syscall.ENXIO
	}
	return errno, true
}
