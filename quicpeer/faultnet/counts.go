package faultnet

// Counts say what became of the packets of one direction, each by its reason.
//
//	Offered   = Unharmed + Harmed + Dropped()
//	Delivered = Unharmed + Harmed + Duplicated - QueueFull - Unsent - (those on their way)
type Counts struct {
	Offered  uint64 // packets that a sender gave to the path
	Unharmed uint64 // let through once, unaltered, held up by nothing but Delay and Jitter
	Harmed   uint64 // let through, and reordered, duplicated or corrupted, or several of these

	// What was harmed, and how. A packet may be in several.

	Reordered  uint64
	Duplicated uint64
	Corrupted  uint64

	// Packets that were dropped, each for one reason.

	Lost       uint64 // Loss
	Burst      uint64 // Burst
	TooLong    uint64 // MTU
	Blackholed uint64 // Blackhole
	Unrouted   uint64 // for an address that nobody has, or has any more, or from one
	TooMany    uint64 // from one client more than a relay takes

	// What was let through; copies count by themselves.

	QueueFull uint64 // dropped: as much was on its way as may be
	Unsent    uint64 // dropped: the system did not take it, or the receiver had gone meanwhile
	Delivered uint64 // handed to the receiver
}

// Dropped is how many packets were dropped by decision. None of them is in
// Unharmed or Harmed.
func (c Counts) Dropped() uint64 {
	return c.Lost + c.Burst + c.TooLong + c.Blackholed + c.Unrouted + c.TooMany
}

// Add adds o to c, for totals over several paths.
func (c *Counts) Add(o Counts) {
	c.Offered += o.Offered
	c.Unharmed += o.Unharmed
	c.Harmed += o.Harmed
	c.Reordered += o.Reordered
	c.Duplicated += o.Duplicated
	c.Corrupted += o.Corrupted
	c.Lost += o.Lost
	c.Burst += o.Burst
	c.TooLong += o.TooLong
	c.Blackholed += o.Blackholed
	c.Unrouted += o.Unrouted
	c.TooMany += o.TooMany
	c.QueueFull += o.QueueFull
	c.Unsent += o.Unsent
	c.Delivered += o.Delivered
}
