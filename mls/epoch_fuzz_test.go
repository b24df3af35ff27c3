package mls

import (
	"bytes"
	"encoding/json"
	"testing"
)

// Theorem: what parses as an MLSMessage marshals to the same bytes.
func FuzzMLSMessage(f *testing.F) {
	var vs []messagesVector
	if err := json.Unmarshal(vectorFile(f, "messages.json"), &vs); err != nil || len(vs) == 0 {
		f.Fatal("no seeds: ", err)
	}
	for _, v := range vs[:3] {
		for _, b := range [][]byte{v.Welcome, v.GroupInfo, v.KeyPackage, v.PublicApplication, v.PublicProposal, v.PublicCommit, v.Private} {
			f.Add([]byte(b))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMLSMessage(b)
		if err != nil {
			return
		}
		if got := m.Marshal(); !bytes.Equal(got, b) {
			t.Fatalf("marshals to %x", got)
		}
	})
}

// fuzzTarget is a group with frames of each kind that leaf 1 has not opened.
func fuzzTarget(tb testing.TB) (*Epoch, [][]byte, Signer, *Epoch) {
	all := newGroup(tb, DMLS, 3, 30, false)
	a := all[0]
	kp := newDevice(tb, 9, a.env.Rand).keyPackage().KeyPackage
	c, _ := a.commit(a.e, CommitRequest{Proposals: []Proposal{&Remove{Removed: 2}, &Add{KeyPackage: *kp}}})
	leave, delta, err := a.e.Propose(&Remove{Removed: 0}, []byte("aad"), a.signer, a.env)
	if err != nil {
		tb.Fatal(err)
	}
	a.apply(a.e, delta)
	return all[1].e, [][]byte{c.Message, leave, a.say("some text")}, a.signer, all[2].e
}

// Theorem: a frame that is refused, whatever an outsider or an insider made of
// it, leaves the epoch's records byte-identical; so does one that is opened,
// until its delta is applied.
func FuzzOpenMutated(f *testing.F) {
	e, frames, signer, insider := fuzzTarget(f)
	for i := range frames {
		f.Add(byte(i), byte(0), uint16(7), byte(1))
		f.Add(byte(i), byte(1), uint16(70), byte(0x80))
		f.Add(byte(i), byte(2), uint16(100), byte(0))
	}
	want := snapshot(e)
	f.Fuzz(func(t *testing.T, frame, how byte, at uint16, flip byte) {
		msg := bytes.Clone(frames[int(frame)%len(frames)])
		switch how % 3 {
		case 0: // an outsider: a byte of the frame
			msg[int(at)%len(msg)] ^= flip
		case 1: // an insider: a byte of the content, under the old signature
			msg = forgeByte(t, insider, msg, at, flip, nil)
		case 2: // the author: a byte of the content, signed
			msg = forgeByte(t, insider, msg, at, flip, signer)
		}
		if msg == nil {
			return
		}
		m, err := ParsePrivateMessage(msg)
		if err != nil {
			return
		}
		out, err := e.Open(m, OpenOptions{})
		sameRecords(t, "after opening", e, want)
		if err == nil {
			out.Delta.Wipe()
		} else if how%3 == 0 && flip == 0 {
			t.Fatalf("the honest frame does not open: %v", err)
		}
	})
}

// forgeByte changes one byte of the body and, where that still parses, gives
// the frame of it.
func forgeByte(t *testing.T, insider *Epoch, msg []byte, at uint16, flip byte, resign Signer) []byte {
	parses := true
	out := forge(t, insider, msg, forgery{resign: resign, change: func(a *AuthenticatedContent) {
		w := &writer{}
		a.Content.writeBody(w)
		w.buf[int(at)%len(w.buf)] ^= flip
		c := a.Content
		r := newReader(w.buf)
		c.readBody(r)
		if parses = r.done() == nil; parses {
			a.Content = c
		}
	}})
	if !parses {
		return nil
	}
	return out
}

// vectorTargets are members of the official vectors' groups, each with the
// frames of the epoch that it joined.
type vectorTarget struct {
	e      *Epoch
	psk    PSKLookup
	frames [][]byte
}

func vectorTargets(f *testing.F) []vectorTarget {
	var out []vectorTarget
	seen := map[CipherSuite]int{}
	for _, name := range []string{"passive-client-random.json", "passive-client-handling-commit.json"} {
		for _, v := range loadVectors[passiveVector](f, name) {
			if seen[v.CipherSuite]++; seen[v.CipherSuite] > 4 {
				continue
			}
			x := vectorTarget{e: v.join(f), psk: v.psk}
			for _, p := range append(v.Epochs[0].Proposals, v.Epochs[0].Commit) {
				x.frames = append(x.frames, p)
			}
			out = append(out, x)
		}
	}
	return out
}

// Theorem: a frame of the official vectors, whatever was done to it, leaves the
// records of the epoch that refuses it byte-identical, and those of the epoch
// that opens it until its delta is applied. Plain RFC 9420, all suites.
func FuzzOpenVectors(f *testing.F) {
	targets := vectorTargets(f)
	want := make([]map[string][]byte, len(targets))
	for i, x := range targets {
		want[i] = snapshot(x.e)
		for _, msg := range x.frames {
			f.Add(byte(i), msg)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, msg []byte) {
		i := int(which) % len(targets)
		x := targets[i]
		m, err := ParseMLSMessage(msg)
		if err != nil || m.Private == nil && m.Public == nil {
			return
		}
		var out *Opened
		if m.Private != nil {
			out, err = x.e.Open(m.Private, OpenOptions{PSK: x.psk})
		} else {
			out, err = x.e.OpenPublic(m.Public, OpenOptions{PSK: x.psk})
		}
		sameRecords(t, "after opening", x.e, want[i])
		if err == nil {
			out.Delta.Wipe()
		}
	})
}
