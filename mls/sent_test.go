package mls

import (
	"bytes"
	"errors"
	"testing"
)

// Section 14: until it is known which commit of an epoch counts, the epoch goes
// on, but no key encrypts twice (section 9.1).
func TestSentCommit(t *testing.T) {
	for _, public := range []bool{false, true} {
		all := newGroup(t, RFC9420, 3, 180, false)
		a, b := all[0].e, all[1].e
		signer, env := all[0].signer, all[0].env
		commit := func(e *Epoch, r CommitRequest) *StagedCommit {
			t.Helper()
			r.Public = public
			out, err := e.Commit(r, signer, env)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		apply := func(e *Epoch, d Delta) {
			t.Helper()
			store := snapshot(e)
			for _, r := range d.Records() {
				if store[r.Key] = r.Value; r.Value == nil {
					delete(store, r.Key)
				}
			}
			if err := e.Apply(d); err != nil {
				t.Fatal(err)
			}
			sameRecords(t, "after a delta", e, store)
		}
		first := commit(a, CommitRequest{})
		before := a.NextGeneration(ContentTypeCommit)
		apply(a, first.Sent)
		if after := a.NextGeneration(ContentTypeCommit); after == before != public {
			t.Errorf("generation %d after %d", after, before)
		}
		// The epoch goes on: text, proposals, and another commit.
		msg, delta, err := a.Protect([]byte("in between"), nil, signer, env)
		if err != nil {
			t.Fatal(err)
		}
		apply(a, delta)
		take(t, b, msg)
		second := commit(a, CommitRequest{})
		if !public && second.Generation == first.Generation {
			t.Error("two commits under one key")
		}
		// Only one of them is accepted; the other's delta then fails.
		apply(a, first.Delta)
		if err := a.Apply(second.Delta); !errors.Is(err, ErrStale) {
			t.Errorf("a second child: %v", err)
		}
		if err := a.Apply(second.Sent); !errors.Is(err, ErrStale) {
			t.Errorf("a used key of an older state: %v", err)
		}
		m, err := ParseMLSMessage(first.Message)
		if err != nil {
			t.Fatal(err)
		}
		var out *Opened
		if public {
			out, err = b.OpenPublic(m.Public, OpenOptions{})
		} else {
			out, err = b.Open(m.Private, OpenOptions{})
		}
		if err != nil || !bytes.Equal(out.Commit.Child.EpochAuthenticator(), first.Child.EpochAuthenticator()) {
			t.Errorf("receiver: %v", err)
		}
	}
}

// What is wiped or applied in one part is not applied or wiped in the other.
func TestSentAndDelta(t *testing.T) {
	all := newGroup(t, RFC9420, 2, 181, false)
	e, signer, env := all[0].e, all[0].signer, all[0].env
	commit := func() *StagedCommit {
		t.Helper()
		out, err := e.Commit(CommitRequest{}, signer, env)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	stale := func(what string, d Delta) {
		t.Helper()
		if err := e.Apply(d); !errors.Is(err, ErrStale) {
			t.Errorf("%s: %v", what, err)
		}
	}
	c := commit()
	c.Delta.Wipe()
	stale("Sent of a wiped commit", c.Sent)
	c = commit()
	c.Sent.Wipe()
	stale("Delta without its key", c.Delta)
	c = commit()
	if err := e.Apply(c.Sent); err != nil {
		t.Fatal(err)
	}
	stale("Sent twice", c.Sent)
	c.Delta.Wipe() // lost to another commit: what was sent stays used
	stale("Delta after Wipe", c.Delta)
	c = commit()
	if err := e.Apply(c.Delta); err != nil {
		t.Fatal(err)
	}
	c.Sent.Wipe()
	stale("Sent after Delta", c.Sent)
	want := snapshot(e)
	for key, value := range want {
		if len(value) > 0 && len(bytes.Trim(value, "\x00")) == 0 {
			t.Errorf("record %s is zero: a live secret was wiped", key)
		}
	}
	if d := newGroup(t, DMLS, 2, 182, false)[0]; true {
		out, err := d.e.Commit(CommitRequest{}, d.signer, d.env)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.e.Apply(out.Sent); !errors.Is(err, ErrConfig) {
			t.Errorf("Sent of a DMLS commit: %v", err)
		}
	}
}
