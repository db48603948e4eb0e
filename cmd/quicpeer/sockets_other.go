//go:build !linux

package main

import "errors"

// udpPorts needs the tables of Linux.
func udpPorts(int) ([]uint16, error) { return nil, errors.ErrUnsupported }
