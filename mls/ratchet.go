package mls

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// Window bounds how far a receiver follows a sender's ratchet (RFC 9420,
// section 9.1 and 15.3). The zero value means the schedule's default.
type Window struct {
	// Skipped is the number of keys per ratchet kept for frames that come out
	// of order; SkipNone: none. Default 32 in RFC 9420; in DMLS none, since
	// frames open in order. Epoch.DropSkipped is for who limits their age too.
	Skipped uint32
	// Forward is the number of generations that one frame may jump over, each
	// three KDF calls. Default 1,000.
	Forward uint32
}

// SkipNone is a Window.Skipped: no key is kept that a later frame went past.
const SkipNone = ^uint32(0)

func (w Window) orDefault(k KeySchedule) Window {
	if w.Forward == 0 {
		w.Forward = 1000
	}
	if w.Skipped == 0 && k == RFC9420 {
		w.Skipped = 32
	}
	return w
}

// keeps is the number of keys kept.
func (w Window) keeps() uint32 {
	if w.Skipped == SkipNone {
		return 0
	}
	return w.Skipped
}

// ratchetID names one of the two ratchets of a leaf.
type ratchetID struct {
	leaf        LeafIndex
	application bool
}

func (id ratchetID) key() string {
	kind := "h"
	if id.application {
		kind = "a"
	}
	return "r/" + strconv.FormatUint(uint64(id.leaf), 10) + "/" + kind
}

// compare orders by leaf, the handshake ratchet first.
func (id ratchetID) compare(o ratchetID) int {
	if c := cmp.Compare(id.leaf, o.leaf); c != 0 || id.application == o.application {
		return c
	}
	if o.application {
		return -1
	}
	return 1
}

func (t ContentType) ratchet(leaf LeafIndex) ratchetID {
	return ratchetID{leaf, t == ContentTypeApplication}
}

// ratchetKey is the key material of one generation.
type ratchetKey struct {
	generation uint32
	key, nonce []byte
}

func (k ratchetKey) wipe() { wipe(k.key, k.nonce) }

// markEvery bounds the cost of an old generation of a ratchet that is kept. Any
// member can make us derive one: the key is needed before anything is verified.
const markEvery = 1024

// ratchet is a hash ratchet (RFC 9420, section 9.1).
type ratchet struct {
	marks   [][]byte // secrets of generations 0, 1·markEvery, …, if all stay readable; else nil
	at      uint32   // next generation
	secret  []byte   // of generation at
	skipped []ratchetKey
}

func (r *ratchet) clone() *ratchet {
	c := &ratchet{at: r.at, secret: bytes.Clone(r.secret)}
	for _, m := range r.marks {
		c.marks = append(c.marks, bytes.Clone(m))
	}
	for _, k := range r.skipped {
		c.skipped = append(c.skipped, ratchetKey{k.generation, bytes.Clone(k.key), bytes.Clone(k.nonce)})
	}
	return c
}

func (r *ratchet) wipe() {
	wipe(r.marks...)
	wipe(r.secret)
	for _, k := range r.skipped {
		k.wipe()
	}
	*r = ratchet{}
}

// derive gives key and nonce of a generation from its secret.
func (s *suite) ratchetKey(secret []byte, generation uint32) ratchetKey {
	return ratchetKey{generation, s.deriveTreeSecret(secret, "key", generation, s.nk),
		s.deriveTreeSecret(secret, "nonce", generation, s.nn)}
}

// step moves the ratchet by one generation.
func (r *ratchet) step(s *suite) {
	r.secret = s.ratchetStep(r.secret, r.at)
	r.at++
	if r.marks != nil && r.at%markEvery == 0 {
		r.marks = append(r.marks, bytes.Clone(r.secret))
	}
}

// ratchetStep gives the secret of the next generation and wipes this one.
func (s *suite) ratchetStep(secret []byte, generation uint32) []byte {
	next := s.deriveTreeSecret(secret, "secret", generation, s.nh)
	clear(secret)
	return next
}

// take gives the key of a generation and moves the ratchet behind it.
func (r *ratchet) take(s *suite, generation uint32, w Window) (ratchetKey, error) {
	if generation < r.at {
		return r.takePast(s, generation)
	}
	if generation-r.at > w.Forward || generation == 1<<32-1 {
		return ratchetKey{}, fmt.Errorf("%w: %d, next is %d", ErrGeneration, generation, r.at)
	}
	for r.at < generation {
		if r.marks == nil && generation-r.at <= w.keeps() {
			r.skipped = append(r.skipped, s.ratchetKey(r.secret, r.at))
		}
		r.step(s)
	}
	if over := len(r.skipped) - int(w.keeps()); over > 0 {
		for _, k := range r.skipped[:over] {
			k.wipe()
		}
		r.skipped = slices.Delete(r.skipped, 0, over)
	}
	k := s.ratchetKey(r.secret, generation)
	r.step(s)
	return k, nil
}

// takePast gives the key of a generation that the ratchet has passed.
func (r *ratchet) takePast(s *suite, generation uint32) (ratchetKey, error) {
	if r.marks != nil {
		secret := bytes.Clone(r.marks[generation/markEvery])
		for g := generation / markEvery * markEvery; g < generation; g++ {
			secret = s.ratchetStep(secret, g)
		}
		defer clear(secret)
		return s.ratchetKey(secret, generation), nil
	}
	i := slices.IndexFunc(r.skipped, func(k ratchetKey) bool { return k.generation == generation })
	if i < 0 {
		return ratchetKey{}, fmt.Errorf("%w: %d, next is %d", ErrSpent, generation, r.at)
	}
	k := r.skipped[i]
	r.skipped = slices.Delete(r.skipped, i, i+1)
	return k, nil
}

func (r *ratchet) dropSkipped() {
	for _, k := range r.skipped {
		k.wipe()
	}
	r.skipped = nil
}

// record encodes a ratchet for the store.
func (r *ratchet) record() []byte {
	w := &writer{}
	w.vector(func(w *writer) {
		for _, m := range r.marks {
			w.vec(m)
		}
	})
	w.u32(r.at)
	w.vec(r.secret)
	w.vector(func(w *writer) {
		for _, k := range r.skipped {
			w.u32(k.generation)
			w.vec(k.key)
			w.vec(k.nonce)
		}
	})
	return w.buf
}

func parseRatchet(s *suite, b []byte) (*ratchet, error) {
	rd := newReader(b)
	r := &ratchet{marks: readList(rd, (*reader).vec), at: rd.u32(), secret: rd.vec()}
	r.skipped = readList(rd, func(rd *reader) ratchetKey { return ratchetKey{rd.u32(), rd.vec(), rd.vec()} })
	if err := rd.done(); err != nil {
		return nil, err
	}
	if r.marks != nil && len(r.marks) != int(r.at/markEvery)+1 {
		return nil, fmt.Errorf("%w: %d marks at generation %d", ErrMalformed, len(r.marks), r.at)
	}
	for _, secret := range append(slices.Clone(r.marks), r.secret) {
		if len(secret) != s.nh {
			return nil, fmt.Errorf("%w: ratchet secret of %d bytes", ErrMalformed, len(secret))
		}
	}
	return r, nil
}
