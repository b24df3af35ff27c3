package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math/rand/v2"
	"time"

	"github.com/dmlsd/dmls/group"
)

// epoch0 is when virtual time begins. Any fixed date would do.
var epoch0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// world holds the devices, the network between them and what will happen.
type world struct {
	Scenario
	now     time.Time
	start   time.Time // the group is formed; zero: not yet
	agenda  agenda
	count   uint64 // events scheduled so far
	devices []*device
	byName  map[string]*device
	gid     string
	cuts    []bool             // partitions that separate now
	cut     int                // changes of cuts
	commits map[side]int       // made while a partition lasted
	said    map[string]*saying // acknowledged messages, by text
	order   []string           // their texts, in order
	blocks  blockNumbers
	once    func(sum [32]byte, check func() bool) bool // of group.Env
	quiet   bool                                       // no loss and no repeats: while the group forms
	deaf    *device                                    // is left out when the islands are healed; for tests
	net     *rand.Rand
	faults  *rand.Rand
	wire    hash.Hash // of all that was sent, in order
	carried int       // messages
	bytes   int       // in them
	deaths  int
	last    time.Time // when a member last published a frame
	late    time.Time // when a device last could read another branch, or was still to come in
	history *history
	trace   *trace // nil: nobody wants to see it
	meter   *meter // nil: nothing is measured
	err     error

	engine     group.Config
	captured   map[string]capture // blocks that were published, by CID
	heard      []string           // their CIDs, in order
	ears       []func()           // of adversaries who act as soon as somebody publishes
	signals    [][]byte           // bodies of the signals that were sent, for adversaries
	welcomes   map[string][]byte  // bundles by KeyPackageRef, hex
	senderData map[string][]byte  // sender_data_secret by epoch
	opened     struct {           // captured blocks without their seal
		frames []sealed
		upTo   int
	}
	glimpses   []glimpse
	nextLook   []time.Time      // when glimpses are taken, in order
	chance     *rand.Rand       // who is looked at
	nextReload []time.Time      // when disks are loaded anew, in order
	reader     *rand.Rand       // whose
	assaults   int              // things that adversaries sent
	puppets    int              // members that they added
	loots      []*loot          // copies of devices that thieves took
	shelf      *shelf           // that all disks share
	roster     []group.Member   // as a device named them last
	entries    []group.LogEntry // likewise
}

// side is an island of a partition, by number.
type side struct{ partition, island int }

// stream derives an independent random stream from the seed.
func stream(seed uint64, purpose string) *rand.ChaCha8 {
	sum := sha256.Sum256(fmt.Appendf(binary.BigEndian.AppendUint64(nil, seed), " %s", purpose))
	return rand.NewChaCha8(sum)
}

func newWorld(s Scenario) (*world, error) {
	s = s.Expand()
	w := &world{
		Scenario: s, now: epoch0, byName: map[string]*device{}, cuts: make([]bool, len(s.Partitions)), commits: map[side]int{},
		said: map[string]*saying{}, quiet: true,
		net: rand.New(stream(s.Seed, "network")), faults: rand.New(stream(s.Seed, "faults")),
		wire: sha256.New(), history: &history{},
		engine: s.config(), captured: map[string]capture{}, welcomes: map[string][]byte{}, senderData: map[string][]byte{},
		shelf: newShelf(), blocks: blockNumbers{map[slice]int{}, map[[sha256.Size]byte]int{}},
	}
	w.once = remembers()
	clocks := rand.New(stream(s.Seed, "clocks"))
	for i := range s.devices() {
		d, err := newDevice(w, i)
		if err != nil {
			return nil, err
		}
		if s.Skew > 0 {
			d.skew = time.Duration(clocks.Int64N(2*int64(s.Skew)+1) - int64(s.Skew))
		}
		w.devices, w.byName[d.name] = append(w.devices, d), d
	}
	w.wireUp()
	for _, d := range w.devices {
		if err := d.boot(); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// remembers has each signature verified by the first device that gets it, and not
// by a thousand. What is measured in processor time goes without.
func remembers() func(sum [32]byte, check func() bool) bool {
	good := map[[32]byte]struct{}{}
	return func(sum [32]byte, check func() bool) bool {
		if _, ok := good[sum]; ok {
			return true
		}
		if !check() {
			return false
		}
		good[sum] = struct{}{}
		return true
	}
}

func (w *world) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// members returns the devices that got into the group, in the order of names.
func (w *world) members() []*device {
	var out []*device
	for _, d := range w.devices {
		if d.joined {
			out = append(out, d)
		}
	}
	return out
}

func (w *world) at(t time.Time, f func()) {
	w.count++
	w.agenda.add(event{t, w.count, f})
}

func (w *world) after(d time.Duration, f func()) { w.at(w.now.Add(d), f) }

// moment is a time of the scenario.
func (w *world) moment(s Span) time.Time { return w.start.Add(time.Duration(s)) }

// maxBurst bounds the events of one virtual moment, for each device: beyond it
// something spins.
const maxBurst = 1_000

// run lets time pass until a moment, or until done, asked once a virtual
// second, says so.
func (w *world) run(until time.Time, done func() bool) {
	check, burst := w.now, 0
	for len(w.agenda) > 0 && w.err == nil {
		if done != nil && !w.now.Before(check) {
			if done() {
				return
			}
			check = w.now.Add(time.Second)
		}
		if w.agenda[0].at.After(until) {
			break
		}
		w.look(w.agenda[0].at)
		w.glance(w.agenda[0].at)
		w.reload(w.agenda[0].at)
		e := w.agenda.next()
		if burst++; e.at.After(w.now) {
			w.now, burst = e.at, 0
		}
		if burst > maxBurst*(10+len(w.devices)) {
			w.fail(fmt.Errorf("sim: time stands still: %d events at %v", burst, w.now.Sub(epoch0)))
			return
		}
		e.f()
	}
	if w.now.Before(until) {
		w.now = until
	}
}
