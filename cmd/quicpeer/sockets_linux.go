package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// udpPorts returns the local port of each UDP socket that a process holds: the
// kernel's tables say which sockets exist, the process's descriptors which of
// them it has.
func udpPorts(pid int) ([]uint16, error) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return nil, err
	}
	held := make(map[string]bool) // inodes
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
		if err != nil {
			continue // closed in the meantime
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			held[strings.TrimSuffix(inode, "]")] = true
		}
	}
	var ports []uint16
	for _, table := range []string{"udp", "udp6"} {
		found, err := readUDPTable(filepath.Join(proc, "net", table), held)
		if os.IsNotExist(err) {
			continue // no IPv6 here
		}
		if err != nil {
			return nil, err
		}
		ports = append(ports, found...)
	}
	return ports, nil
}

// readUDPTable returns the local ports of the sockets in a table of the
// kernel, whose inodes are held. See proc_pid_net(5).
func readUDPTable(path string, held map[string]bool) ([]uint16, error) {
	const localField, inodeField = 1, 9
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var ports []uint16
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) <= inodeField || !held[fields[inodeField]] {
			continue
		}
		_, hex, _ := strings.Cut(fields[localField], ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		ports = append(ports, uint16(port))
	}
	return ports, lines.Err()
}
