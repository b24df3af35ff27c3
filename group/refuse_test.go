package group_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// gossip returns the group's sealing keys as an insider has them.
func gossip(t testing.TB, d *device) *frame.Gossip {
	t.Helper()
	op, ok := d.disk[group.Prefix(d.g.ID())+"gossip"]
	if !ok {
		t.Fatal("no gossip secret on the disk")
	}
	return frame.NewGossip(op.Value, 0)
}

// pair is a quiet group of two, and a block of ben's that ada has not seen.
func pair(t testing.TB) (w *world, ada *device, block []byte) {
	w = newWorld(t, "ada", "ben")
	w.create("ada")
	w.join("ada", "ben")
	w.run(20 * time.Second)
	w.cut(1, "ben")
	out := w.say("ben", "secret")
	return w, w.devices["ada"], out.Publish[0].Data
}

// reseal lets an insider change a frame and seal it again.
func reseal(t testing.TB, d *device, block []byte, change func(f *frame.Frame) []byte) []byte {
	t.Helper()
	g := gossip(t, d)
	plain, _, err := g.Open(block)
	if err != nil {
		t.Fatal(err)
	}
	f, err := frame.Parse(plain)
	if err != nil {
		t.Fatal(err)
	}
	return g.Seal(change(f)).Data
}

func TestRefusals(t *testing.T) {
	w, ada, good := pair(t)
	for _, c := range []struct {
		name    string
		block   []byte
		verdict group.Verdict
		reason  error
	}{
		{"empty", nil, group.Rejected, group.ErrMalformed},
		{"noise", bytes.Repeat([]byte{7}, 500), group.Rejected, group.ErrMalformed},
		{"cut short", good[:len(good)-1], group.Rejected, group.ErrMalformed},
		{"one bit flipped", flip(good, len(good)/2), group.Rejected, group.ErrMalformed},
		{"oversized", make([]byte, frame.MaxBlock+1), group.Rejected, group.ErrMalformed},
		{"not a frame", gossip(t, ada).Seal([]byte("hello")).Data, group.Rejected, group.ErrMalformed},
		{"trailing byte", reseal(t, ada, good, func(f *frame.Frame) []byte { return append(f.Marshal(), 0) }), group.Rejected, group.ErrMalformed},
		{"ciphertext changed", reseal(t, ada, good, func(f *frame.Frame) []byte {
			g, err := frame.New(flip(f.Message, len(f.Message)-1), f.DMLSEpoch)
			if err != nil {
				t.Fatal(err)
			}
			return g.Marshal()
		}), group.Rejected, group.ErrForged},
		{"epoch id changed", reseal(t, ada, good, func(f *frame.Frame) []byte {
			g, err := frame.New(f.Message, flip(f.DMLSEpoch, 0))
			if err != nil {
				t.Fatal(err)
			}
			return g.Marshal()
		}), group.Rejected, group.ErrWrongEpoch},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := ada.digest()
			for range 2 {
				out := w.step(ada, group.Receive{Blocks: [][]byte{c.block}, From: "mallory"})
				r := out.Results[0]
				if r.Verdict != c.verdict || !errors.Is(r.Reason, c.reason) {
					t.Errorf("verdict %d, %v; want %d, %v", r.Verdict, r.Reason, c.verdict, c.reason)
				}
				if len(out.Batch) != 0 || len(out.Events) != 0 || ada.digest() != before {
					t.Errorf("a refused block changed %d records and made %d events", len(out.Batch), len(out.Events))
				}
			}
		})
	}
	// None of it used up what opens the honest frame.
	if out := w.step(ada, group.Receive{Blocks: [][]byte{good}}); out.Results[0].Verdict != group.Applied {
		t.Fatalf("the honest frame: %+v", out.Results[0])
	}
	before := ada.digest()
	if out := w.step(ada, group.Receive{Blocks: [][]byte{good}}); out.Results[0].Verdict != group.Duplicate || ada.digest() != before {
		t.Errorf("replayed: %+v", out.Results[0])
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// A frame whose parent is missing waits, names what it waits for, and opens in
// the same Step as its parent.
func TestParentless(t *testing.T) {
	w, ada, _ := pair(t)
	w.update("ben")
	commit := w.devices["ben"].last.Publish[0]
	late := w.say("ben", "after the commit").Publish[0]
	before := ada.digest()
	out := w.step(ada, group.Receive{Blocks: [][]byte{late.Data}})
	if r := out.Results[0]; r.Verdict != group.Buffered || len(r.Missing) != 1 || r.Missing[0] != commit.CID {
		t.Fatalf("parentless: %+v", r)
	}
	if len(out.Want) != 1 || out.Want[0] != commit.CID || ada.digest() != before {
		t.Fatalf("wants %v, %d records", out.Want, len(out.Batch))
	}
	w.pull(w.devices["ben"], ada)
	if got := ada.texts(); len(got) != 2 || got[1] != "ben: after the commit" {
		t.Errorf("read %q", got)
	}
	if st := ada.g.Status(); st.Parked != 0 || len(ada.g.Wants()) != 0 {
		t.Errorf("%d parked, wants %v", st.Parked, ada.g.Wants())
	}
}

// A member who was removed keeps sending on the old epoch. Once that is erased
// the frames are Stale: kept for others, opened by nobody.
func TestRemovedMember(t *testing.T) {
	w := newWorld(t, "ada", "ben", "eve")
	w.create("ada")
	w.join("ada", "ben")
	w.join("ada", "eve")
	w.run(20 * time.Second)
	w.cut(1, "eve")
	block := w.say("eve", "still in").Publish[0].Data
	w.remove("ada", "eve")
	w.run(30 * time.Second)
	head := w.agree("ada", "ben").Head
	if st := w.devices["ada"].g.Status(); st.RetainedEpochs != 1 {
		t.Fatalf("%d epochs retained", st.RetainedEpochs)
	}
	out := w.step(w.devices["ada"], group.Receive{Blocks: [][]byte{block}, From: "eve"})
	if r := out.Results[0]; r.Verdict != group.Stale || !errors.Is(r.Reason, group.ErrErased) {
		t.Errorf("late frame of a removed member: %+v", r)
	}
	w.heal()
	w.run(30 * time.Second)
	if st := w.agree("ada", "ben"); st.Head != head || len(st.Members) != 2 {
		t.Errorf("the removed member moved the head: %s", members(st))
	}
	eve := w.devices["eve"]
	if st := eve.g.Status(); st.State != "removed" {
		t.Errorf("eve is %q", st.State)
	}
	if _, err := w.try(eve, group.Send{Text: []byte("x")}); !errors.Is(err, group.ErrNotMember) {
		t.Errorf("eve sends: %v", err)
	}
}

func TestMisuse(t *testing.T) {
	w := newWorld(t, "ada", "ben")
	w.create("ada")
	w.join("ada", "ben")
	ada := w.devices["ada"]
	for _, c := range []struct {
		in   group.Input
		want error
	}{
		{group.Send{}, group.ErrTextSize},
		{group.Send{Text: make([]byte, 1<<20)}, group.ErrTextSize},
		{group.Change{}, group.ErrEmptyChange},
		{group.Change{Remove: []uint32{9}}, group.ErrNoSuchLeaf},
		{group.Change{Remove: []uint32{0}}, group.ErrSelfRemove},
	} {
		before := ada.digest()
		if _, err := w.try(ada, c.in); !errors.Is(err, c.want) || ada.digest() != before {
			t.Errorf("%+v: %v, want %v", c.in, err, c.want)
		}
	}
	kp, err := group.NewKeyPackage(w.env(w.devices["ben"]), w.devices["ben"].id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.try(ada, group.Change{Add: [][]byte{kp.KeyPackage.Marshal()}}); !errors.Is(err, group.ErrAlready) {
		t.Errorf("adding a member again: %v", err)
	}
	if _, err := w.try(ada, group.Change{Add: [][]byte{[]byte("junk")}}); err == nil {
		t.Error("adding junk worked")
	}
}

// FuzzRefused: whatever arrives, a refused block changes no record, and the
// honest frame still opens afterwards.
func FuzzRefused(f *testing.F) {
	_, _, good := pair(f)
	f.Add(0, byte(1), false)
	f.Add(len(good)/2, byte(255), true)
	f.Fuzz(func(t *testing.T, at int, mask byte, insider bool) {
		w, ada, good := pair(t)
		bad := bytes.Clone(good)
		if insider {
			bad = reseal(t, ada, good, func(f *frame.Frame) []byte {
				b := f.Marshal()
				b[abs(at)%len(b)] ^= mask
				return b
			})
		} else {
			bad[abs(at)%len(bad)] ^= mask
		}
		if bytes.Equal(bad, good) {
			return
		}
		before := ada.digest()
		out := w.step(ada, group.Receive{Blocks: [][]byte{bad}, From: "mallory"})
		if v := out.Results[0].Verdict; v == group.Applied || v == group.Forked {
			t.Fatalf("a changed block was applied")
		}
		if v := out.Results[0].Verdict; (v == group.Rejected || v == group.Buffered) && ada.digest() != before {
			t.Fatalf("verdict %d changed the records", v)
		}
		if out := w.step(ada, group.Receive{Blocks: [][]byte{good}}); out.Results[0].Verdict != group.Applied {
			t.Fatalf("the honest frame: %+v", out.Results[0])
		}
	})
}

func abs(n int) int { return max(n, -(n + 1)) }
