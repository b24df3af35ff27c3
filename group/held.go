package group

// Held counts what a group keeps in memory that others could make grow, each
// with a cap in [Config] or of the engine's own. It holds no secret.
type Held struct {
	Epochs    int // whose secrets are retained, without
	OldEpochs int // those of branches that this device is not on

	Parked          int // frames that wait
	ParkedBytes     int
	ParkedPeer      int // frames of the peer that has most of them waiting
	Strays          int // entries of waiting lists whose frame does not wait; always 0
	Rejected        int // refused blocks that are remembered
	Asked           int // blocks asked for because an unread frame links to them
	AskedSeeds      int // blocks asked for that lie before the base
	Copies          int // of the own text that was said again most often for those who could not read it
	Outbox          int // own blocks that nobody is known to hold
	Offers, Answers int // of stranded joiners; Welcomes that are kept for them
	Rejoins         int // own offers
	Rivals          int // bases beside the present one
	Words           int // last words of members
	Hints           int // members who seem to be elsewhere
	Relayed         int // largest number of signals that are remembered for one purpose
}

// Held counts what is kept. It takes time in proportion to the retained epochs,
// the peers with waiting frames and the texts said again.
func (g *Group) Held() Held {
	r := &g.relay
	h := Held{
		Parked: len(g.waiting), ParkedBytes: g.parkedSize, Strays: g.adrift(), Rejected: max(len(g.rejected), len(g.rejectLog)),
		Asked: len(g.unreadHoles), AskedSeeds: len(g.seedsWanted), Outbox: len(g.unsent),
		Offers: len(g.offers), Answers: len(g.answered), Rejoins: len(g.rejoins), Rivals: len(g.seeds), Words: len(g.said), Hints: len(g.hints),
		Relayed: max(len(r.next), len(r.again), len(r.way), len(r.last), len(r.proven)),
	}
	for _, e := range g.epochs {
		if e.old {
			h.OldEpochs++
		} else {
			h.Epochs++
		}
	}
	for _, of := range g.peerParked {
		h.ParkedPeer = max(h.ParkedPeer, len(of.list))
	}
	for _, c := range g.due.copied {
		h.Copies = max(h.Copies, c.times)
	}
	return h
}

// adrift counts the entries of lists of waiting frames whose frame is gone: each
// would be asked about for ever.
func (g *Group) adrift() int {
	n := 0
	for _, list := range g.waiters {
		for _, c := range list {
			if g.waiting[c] == nil {
				n++
			}
		}
	}
	for _, list := range g.leaves {
		for _, c := range list {
			if g.waiting[c] == nil {
				n++
			}
		}
	}
	for c := range g.delayed {
		if g.waiting[c] == nil {
			n++
		}
	}
	return n
}
