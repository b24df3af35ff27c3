// Package sim runs groups of devices in a seeded world: virtual time, a
// network that delays, loses, repeats and reorders, partitions, crashes. The
// devices are the real thing: [node.Driver] over the engine of package group,
// with real cryptography. Only transport and disk are simulated, and a signature
// that one device found good is good for the others, but where processor time is
// measured.
//
// A run is a function of its [Scenario]: the same seed gives the same bytes of
// history. Network, workload, faults and each device draw from random streams
// of their own, so that taking one away does not reshuffle the others.
package sim
