// Package path is a network path for benchmarks: a relay of UDP packets on
// loopback that limits their rate, delays them and loses some. It needs no
// privileges and no namespaces, so it runs wherever the benchmark does.
//
// Both directions have the same properties, and are independent of each other:
//
//	sender -> queue -> bottleneck -> wire -> receiver
//	          Queue     Rate         Delay, Loss
//
// A packet that finds the queue full is dropped (tail drop). The bottleneck
// reckons in time, not in timers: each packet gets the time at which its last
// bit has left, whenever the process wakes up to send it. So the rate is exact
// over any time longer than a wake-up is late, and a late wake-up makes a short
// burst and no lower rate.
//
// What it does not do: reorder, repeat, or mark packets (ECN is not passed on).
// Packets longer than an Ethernet frame takes are dropped.
package path
