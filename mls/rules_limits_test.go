package mls

import (
	"errors"
	"testing"
)

// TestLimitRules: how much and for how long keys are used (sections 6.3.1, 9,
// 15.2 and 15.3).
func TestLimitRules(t *testing.T) {
	all := newGroup(t, RFC9420, 2, 170, false)
	a, b := all[0], all[1]
	t.Run("a frame longer than an AEAD may encrypt", func(t *testing.T) {
		long := make([]byte, maxField+1) // never touched
		want := snapshot(a.e)
		_, _, err := a.e.Protect(long, nil, a.signer, a.env)
		refused(t, err, ErrConfig, "bytes in one frame")
		_, _, err = a.e.Protect(nil, long, a.signer, a.env)
		refused(t, err, ErrConfig, "bytes in one frame")
		_, err = a.e.Commit(CommitRequest{AuthenticatedData: long}, a.signer, a.env)
		refused(t, err, ErrConfig, "bytes in one frame")
		sameRecords(t, "after refusing", a.e, want)
	})
	t.Run("the end of a ratchet", func(t *testing.T) {
		s := a.e.suite
		r := &ratchet{secret: make([]byte, s.nh), at: 1<<32 - 2}
		if _, err := r.take(s, 1<<32-2, Window{Forward: 10}); err != nil {
			t.Fatal(err)
		}
		_, err := r.take(s, 1<<32-1, Window{Forward: 10})
		refused(t, err, ErrGeneration, "")
	})
	t.Run("more PSKs than PSKLabel can count", func(t *testing.T) {
		var list []Proposal
		for range maxPSKs + 1 {
			p, err := NewPreSharedKey(testSuite, PreSharedKeyID{Type: PSKTypeExternal}, a.env.Rand)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, p)
		}
		lookup := func(PreSharedKeyID) []byte { return []byte("secret") }
		_, err := a.e.Commit(CommitRequest{Proposals: list, PSK: lookup}, a.signer, a.env)
		refused(t, err, ErrProposals, "more than 65535 PSKs")
		_, err = b.stage(b.e, a.lawless(&Commit{Proposals: byValue(list...)}))
		refused(t, err, ErrProposals, "more than 65535 PSKs")
	})
	t.Run("no key for two frames", func(t *testing.T) {
		msg := a.say("once")
		b.hear(msg, "once")
		if _, err := b.stage(b.e, msg); !errors.Is(err, ErrSpent) {
			t.Errorf("a key twice: %v", err)
		}
		_, delta, err := a.e.Protect(nil, nil, a.signer, a.env)
		if err != nil {
			t.Fatal(err)
		}
		a.say("another")
		if err := a.e.Apply(delta); !errors.Is(err, ErrStale) {
			t.Errorf("the delta of a frame whose generation was sent again: %v", err)
		}
	})
	t.Run("skipped keys that are dropped", func(t *testing.T) {
		all := newGroup(t, RFC9420, 2, 171, false)
		a, e := all[0], all[1].e
		early, late := a.say("early"), a.say("late")
		take(t, e, late)
		staged, err := all[1].stage(e, early)
		if err != nil {
			t.Fatal(err)
		}
		store := snapshot(e)
		records := e.DropSkipped()
		for _, r := range records {
			if store[r.Key] = r.Value; !r.Secret {
				t.Errorf("%s is not secret", r.Key)
			}
		}
		sameRecords(t, "after dropping", e, store)
		if len(records) != 1 || e.DropSkipped() != nil {
			t.Errorf("%d records", len(records))
		}
		if err := e.Apply(staged.Delta); !errors.Is(err, ErrStale) {
			t.Errorf("what was staged before: %v", err)
		}
		if _, err := all[1].stage(e, early); !errors.Is(err, ErrSpent) {
			t.Errorf("a dropped key: %v", err)
		}
		take(t, e, a.say("goes on"))
	})
	t.Run("a window that keeps none", func(t *testing.T) {
		all := newGroup(t, RFC9420, 2, 172, false)
		a, e := all[0], all[1].e
		e.window.Skipped = SkipNone
		c, child := a.commit(a.e, CommitRequest{})
		a.e = child
		e = take(t, e, c.Message).Commit.Child // a child has its parent's window
		early, late := a.say("early"), a.say("late")
		take(t, e, late)
		if _, err := all[1].stage(e, early); !errors.Is(err, ErrSpent) {
			t.Errorf("a skipped key: %v", err)
		}
	})
}

// take opens a frame and applies its delta, without a store.
func take(t *testing.T, e *Epoch, msg []byte) *Opened {
	t.Helper()
	m, err := ParsePrivateMessage(msg)
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.Open(m, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(out.Delta); err != nil {
		t.Fatal(err)
	}
	return out
}
