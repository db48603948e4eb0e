// Package datagram carries the unreliable messages of one link: their wire form, their queues, and their way to the
// session they belong to.
package datagram
