package quicpeer

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/oneportnet/quicpeer/certs"
)

// withoutGRO runs f on a thread on which UDP_GRO cannot be set, as in some
// sandboxes: seccomp(2) answers EPERM. The thread ends with it.
func withoutGRO(t *testing.T, f func()) {
	t.Helper()
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("the filter is for systems that are little-endian and have setsockopt as a system call")
	}
	const nr, level, option = 0, 16 + 8, 16 + 2*8 // offsets in struct seccomp_data
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	skipUnless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: value}
	}
	answer := func(value uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: value}
	}
	filter := []unix.SockFilter{
		load(nr), skipUnless(unix.SYS_SETSOCKOPT, 5),
		load(level), skipUnless(unix.IPPROTO_UDP, 3),
		load(option), skipUnless(unix.UDP_GRO, 1),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)),
		answer(unix.SECCOMP_RET_ALLOW),
	}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the filter cannot be taken off
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
			err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
		}
		if err == nil {
			f()
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		t.Skipf("no filter here: %v", err)
	}
}

func TestWithoutReceiveOffload(t *testing.T) {
	c := listenTestUDP(t, "127.0.0.1:0")
	var s *udpSocket
	withoutGRO(t, func() { s = newUDPSocket(c, testFaults()) })
	require.ErrorIs(t, s.why, unix.EPERM)
	require.Nil(t, s.offload)

	from := listenTestUDP(t, "127.0.0.1:0")
	data := numbered(5*1000, 1000)
	sendSegments(t, from, destination(s, "127.0.0.1"), data, 1000, 0)
	for i, p := range readPackets(t, s, 5) {
		require.Equal(t, data[i*1000:][:1000], p.data)
	}
	require.Equal(t, SocketStats{ReceivedPackets: 5, ReceiveCalls: 1}, s.stats())
	s.restore()

	_, err := from.WriteToUDPAddrPort([]byte("one"), destination(s, "127.0.0.1"))
	require.NoError(t, err)
	n, addr, err := s.ReadFrom(make([]byte, 1452))
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Equal(t, from.LocalAddr().String(), addr.String())
	require.Equal(t, SocketStats{ReceivedPackets: 6, ReceiveCalls: 2}, s.stats())
}

// An endpoint in such a sandbox works, and says that it has no offload.
func TestEndpointWithoutReceiveOffload(t *testing.T) {
	peer, err := Listen("127.0.0.1:0", nil)
	require.NoError(t, err)
	var e *Endpoint
	withoutGRO(t, func() { e, err = Listen("127.0.0.1:0", &Config{Trust: certs.IDs(peer.ID())}) })
	require.NoError(t, err)
	e.Handle("hello", func(in *Incoming) { _ = in.Reject(0x100, "hello to you", 0) })
	_, err = peer.Dial(t.Context(), e.Addr().String(), &DialOptions{Protocol: "hello", PeerID: e.ID()})
	require.ErrorContains(t, err, "hello to you")
	require.NoError(t, peer.Close(t.Context()))
	require.NoError(t, e.Close(t.Context()))
	stats := e.Stats().Socket
	require.False(t, stats.ReceiveOffload)
	require.Zero(t, stats.CoalescedPackets)
	require.NotZero(t, stats.ReceivedPackets)
	require.NotZero(t, stats.SentPackets)
}
