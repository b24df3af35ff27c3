package gossip

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"
)

// Bounds of the keeper.
const (
	maxTargets = 256                    // peers; the one not seen for longest goes
	maxAddrs   = 8                      // addresses of a peer
	maxDials   = 8                      // at once
	orderDelay = 300 * time.Millisecond // head start of the smaller peer id
	firstRetry = 250 * time.Millisecond // doubled by each failure
	slowRetry  = time.Minute            // between dials of a peer not seen for long
	fastRetry  = 5 * time.Second        // between dials of a static or lately seen peer
	lately     = 10 * time.Minute
	giveUp     = 7 * 24 * time.Hour // a peer not seen for that long is forgotten, unless static
	stable     = 5 * time.Second    // a connection that lived longer was a success
)

// keeper keeps connections with the peers worth having: static ones, members
// of joined topics, remembered ones, and those that mDNS found. It dials each
// again after a loss, for ever, with growing pauses.
//
// Discovery tells a peer once and the swarm's own backoff grows to minutes, so
// neither is relied upon. Of two peers that both want to dial, the one with the
// smaller id goes first: two TCP dials at the same moment from reused ports
// become one connection with two clients and both fail.
type keeper struct {
	t       *Transport
	wake    chan struct{} // something is due earlier
	changed chan struct{} // known has changed

	mu      sync.Mutex
	targets map[peer.ID]*target
	dials   int
}

type target struct {
	addrs    []ma.Multiaddr // latest first
	static   bool
	member   bool // worth remembering
	met      bool // was connected in this run
	dialing  bool
	failures int
	next     time.Time // of the next dial
	seen     time.Time // last known connected, or added
	up       time.Time // start of the present connection
}

// Kinds of target, for add.
const (
	isStatic = 1 << iota
	isMember
)

func newKeeper(t *Transport) *keeper {
	return &keeper{
		t:       t,
		wake:    make(chan struct{}, 1),
		changed: make(chan struct{}, 1),
		targets: make(map[peer.ID]*target),
	}
}

// start takes up the configured peers. The caller holds t.mu.
func (k *keeper) start() {
	for kind, list := range map[int][]string{isStatic: k.t.config.Static, isMember: k.t.config.Remembered} {
		infos, err := parseAddrs(list)
		if err != nil {
			k.t.log.Error("address list was changed after New", "err", err)
		}
		for _, info := range infos {
			k.add(info.ID, info.Addrs, kind)
		}
	}
	k.t.spawn(k.run)
	k.t.spawn(k.identified)
	if k.t.config.OnAddresses != nil {
		k.t.spawn(k.tell)
	}
}

// add takes up a peer, or more addresses of one.
func (k *keeper) add(id peer.ID, addrs []ma.Multiaddr, kind int) {
	if id == k.t.host.ID() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	g, now := k.targets[id], time.Now()
	if g == nil {
		g = &target{seen: now, next: now.Add(k.headStart(id)), static: kind&isStatic != 0, member: kind&isMember != 0}
		k.targets[id] = g
		k.evict()
	}
	before := len(g.addrs)
	g.addrs = mergeAddrs(addrs, g.addrs)
	g.static = g.static || kind&isStatic != 0
	grown := len(g.addrs) != before || kind&isMember != 0 && !g.member
	g.member = g.member || kind&isMember != 0
	if grown && g.member {
		signal(k.changed)
	}
	signal(k.wake)
}

// mergeAddrs puts fresh before old, without doubles, at most maxAddrs.
func mergeAddrs(fresh, old []ma.Multiaddr) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, addr := range slices.Concat(fresh, old) {
		same := func(other ma.Multiaddr) bool { return other.Equal(addr) }
		if len(out) < maxAddrs && !slices.ContainsFunc(out, same) {
			out = append(out, addr)
		}
	}
	return out
}

// evict makes room: members and others have a share each, so that names made
// up on the local network do not push out members, nor members of long ago a
// newcomer. The caller holds k.mu.
func (k *keeper) evict() {
	if len(k.targets) <= maxTargets {
		return
	}
	others := 0
	for _, g := range k.targets {
		if !g.static && !g.member {
			others++
		}
	}
	members := others <= maxTargets/4
	var oldest peer.ID
	for id, g := range k.targets {
		if g.static || g.member != members {
			continue
		}
		if oldest == "" || cmp.Or(g.seen.Compare(k.targets[oldest].seen), cmp.Compare(id, oldest)) < 0 {
			oldest = id
		}
	}
	delete(k.targets, oldest)
}

// headStart is how long this side waits before it dials id.
func (k *keeper) headStart(id peer.ID) time.Duration {
	if k.t.host.ID() < id {
		return 0
	}
	return orderDelay + rand.N(orderDelay/3)
}

// member notes that a peer shares a topic with us.
func (k *keeper) member(id peer.ID) {
	k.add(id, k.t.host.Peerstore().Addrs(id), isMember)
}

// hurry dials id as soon as its order allows.
func (k *keeper) hurry(id peer.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g := k.targets[id]; g != nil {
		g.failures, g.next = 0, time.Now().Add(k.headStart(id))
		signal(k.wake)
	}
}

func (k *keeper) has(id peer.ID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.targets[id] != nil
}

// addrsOf returns what is known of a peer.
func (k *keeper) addrsOf(id peer.ID) []ma.Multiaddr {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g := k.targets[id]; g != nil {
		return slices.Clone(g.addrs)
	}
	return nil
}

// run dials whatever is due.
func (k *keeper) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-k.t.ctx.Done():
			return
		case <-k.wake:
		case <-timer.C:
		}
		timer.Reset(k.dialDue(time.Now()))
	}
}

// dialDue starts the dials that are due and says when to look again.
func (k *keeper) dialDue(now time.Time) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	due, wait := k.due(now)
	long := 0 // dials that are likely to last until they time out
	for _, g := range k.targets {
		if g.dialing && !g.likely() {
			long++
		}
	}
	for _, id := range due {
		g := k.targets[id]
		if !g.likely() {
			if long == maxDials/2 {
				break // the rest of the slots is for those that will answer
			}
			long++
		}
		if k.dials == maxDials {
			break // the end of a dial wakes us
		}
		g.dialing = true
		k.dials++
		info := peer.AddrInfo{ID: id, Addrs: slices.Clone(g.addrs)}
		k.t.spawn(func() { k.dial(info) })
	}
	return wait
}

// due lists the peers to dial now, those that are likely to answer first, and
// says when the next one is due. The caller holds k.mu.
func (k *keeper) due(now time.Time) (due []peer.ID, wait time.Duration) {
	wait = slowRetry
	for id, g := range k.targets {
		switch {
		case k.t.connected(id):
			g.seen, g.met = now, true
		case !g.static && now.Sub(g.seen) > giveUp:
			delete(k.targets, id)
			signal(k.changed)
		case g.dialing || len(g.addrs) == 0 || k.t.gater.isBlocked(id):
		case g.next.After(now):
			wait = min(wait, g.next.Sub(now))
		default:
			due = append(due, id)
		}
	}
	slices.SortFunc(due, func(a, b peer.ID) int {
		g, h := k.targets[a], k.targets[b]
		if g.likely() != h.likely() {
			if g.likely() {
				return -1
			}
			return 1
		}
		return cmp.Or(g.next.Compare(h.next), cmp.Compare(a, b))
	})
	return due, wait
}

// likely says whether a dial of the peer has a good chance.
func (g *target) likely() bool {
	return g.static || g.met && time.Since(g.seen) < lately
}

func (k *keeper) dial(info peer.AddrInfo) {
	err := k.t.dial(k.t.ctx, info)
	k.t.log.Debug("dialled", "peer", info.ID, "err", err)
	if err != nil {
		k.t.search(info.ID)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dials--
	if g := k.targets[info.ID]; g != nil {
		g.dialing = false
		k.retry(g)
	}
	signal(k.wake)
}

// retry sets the time of the next dial. A dial that succeeded counts as a
// failure until its connection has proved stable: the other side may have
// closed it at once. The caller holds k.mu.
func (k *keeper) retry(g *target) {
	most := slowRetry
	if g.likely() {
		most = fastRetry
	}
	pause := min(most, firstRetry<<min(g.failures, 10))
	g.failures++
	g.next = time.Now().Add(pause/2 + rand.N(pause))
}

// notifiee hears of connections. It is called within the swarm and must not
// wait.
func (k *keeper) notifiee() network.Notifiee {
	return &network.NotifyBundle{
		ConnectedF: func(_ network.Network, conn network.Conn) {
			if conn.Stat().Limited {
				k.t.later(func() { k.t.relayed.greet(conn.RemotePeer()) })
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			if g := k.targets[conn.RemotePeer()]; g != nil && g.up.IsZero() {
				g.up = time.Now()
			}
		},
		DisconnectedF: func(n network.Network, conn network.Conn) {
			switch n.Connectedness(conn.RemotePeer()) {
			case network.Connected:
				return
			case network.NotConnected:
				k.t.proofs.forget(conn.RemotePeer())
				k.t.later(func() { k.t.relayed.gone(conn.RemotePeer()) })
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			if g := k.targets[conn.RemotePeer()]; g != nil {
				if !g.up.IsZero() {
					g.seen, g.met = time.Now(), true
					if time.Since(g.up) > stable {
						g.failures = 0
						g.next = time.Now().Add(k.headStart(conn.RemotePeer()))
					}
				}
				g.up = time.Time{}
				signal(k.wake)
			}
		},
	}
}

// identified learns the addresses on which kept peers listen.
func (k *keeper) identified() {
	sub, err := k.t.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted), eventbus.BufSize(256))
	if err != nil {
		k.t.log.Error("addresses of peers are not learnt", "err", err)
		return
	}
	defer sub.Close()
	for {
		select {
		case <-k.t.ctx.Done():
			return
		case e, ok := <-sub.Out():
			if !ok {
				return
			}
			done, ok := e.(event.EvtPeerIdentificationCompleted)
			if ok && k.has(done.Peer) {
				k.add(done.Peer, done.ListenAddrs, 0)
			}
		}
	}
}

// tell reports changes of Known to the configured callback.
func (k *keeper) tell() {
	for {
		select {
		case <-k.t.ctx.Done():
			return
		case <-k.changed:
			k.t.config.OnAddresses(k.known())
		}
		pause(k.t.ctx, time.Second)
	}
}

// Known lists addresses, with /p2p/ ids, of the members of our topics, present
// and past: what to hand to Config.Remembered in the next run.
func (t *Transport) Known() []string { return t.keeper.known() }

func (k *keeper) known() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var ids []peer.ID
	for id, g := range k.targets {
		if g.member {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b peer.ID) int { return cmp.Compare(a, b) })
	var out []string
	for _, id := range ids {
		out = append(out, fullAddrs(id, k.targets[id].addrs)...)
	}
	return out
}

// signal wakes a loop; one that is awake already looks again.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
