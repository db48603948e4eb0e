// Package bench measures quicpeer beside other ways to send messages, and shows
// the result.
//
// A subject is what is measured: quicpeer itself, or a baseline, a program of
// its own that does the same by other means. Each measurement starts two
// processes of one subject, one that serves and one that connects to it, and
// tells them by lines of text what to do (integration_test/baselines/README.md;
// package lines). Nothing is measured within the process that runs the bench.
//
//	throughput   a flood of messages of each size: delivered, and lost
//	latency      the round trip of a lone message
//	control      what is not a message, while messages saturate the link
//	sessions     how fast sessions open; of bare QUIC, streams
//	memory       what an idle session and an idle link cost, on both sides
//
// The measurements are made in rounds. Within a round the subjects take turns
// at each of them, so that a machine whose speed drifts treats all alike; who
// begins changes with the round. Results are medians over the rounds, and a
// ratio is the median of the ratios within each round.
//
// The result is a [Report]. It can be written as a table, as JSON and as a plot.
package bench
