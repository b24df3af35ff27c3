// Package node runs groups: it feeds the engine of package group with what the
// network, the application and the clock bring, stores what the engine wants
// stored, and carries out what it asks for.
//
// It has two floors. [Driver] is a device without goroutines and without a
// clock: inputs and time are handed in, everything it does goes through the
// small interfaces [Store], [Network] and [Sink]. The sync machine ([Sync])
// and the machine of tickets and joins live inside it, so that the simulator
// runs the very same code. [Node] puts a goroutine, a clock and a mailbox
// around a Driver and is what programs use; see package dmls for the shortest
// way to one.
//
// Package node knows neither libp2p nor badger: packages gossip and store
// satisfy [Transport] and [Store] without importing it.
package node
