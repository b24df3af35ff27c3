package group

import (
	"bytes"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/frame"
)

// parsers read what comes as a signal, or from the store. Each returns what it
// writes again of what it read.
var parsers = map[string]func([]byte) ([]byte, error){
	"former": func(b []byte) ([]byte, error) {
		f, err := parseFormer(b)
		if err != nil {
			return nil, err
		}
		return f.marshal(), nil
	},
	"answer": func(b []byte) ([]byte, error) { a, err := parseAnswer(b); return a.marshal(), err },
	"rows": func(b []byte) ([]byte, error) {
		r := &cursor{b: b}
		rows, err := readRows(r)
		if err == nil {
			err = r.done()
		}
		if err != nil {
			return nil, err
		}
		return marshalTable(rows), nil
	},
	"chain":  func(b []byte) ([]byte, error) { k, err := parseChain(b); return k.marshal(), err },
	"leaves": func(b []byte) ([]byte, error) { t, err := parseLeaves(b); return t.marshal(), err },
	"frame": func(b []byte) ([]byte, error) {
		m, err := parseMeta(b)
		if err != nil {
			return nil, err
		}
		return m.marshal(), nil
	},
	"word": func(b []byte) ([]byte, error) {
		w, err := parseWord(b)
		if err != nil {
			return nil, err
		}
		return w.marshal(), nil
	},
	"notice": func(b []byte) ([]byte, error) {
		n, err := parseNotice(&cursor{b: b})
		if err != nil {
			return nil, err
		}
		return n.marshal()[1:], nil // without its kind
	},
	"offer": func(b []byte) ([]byte, error) {
		o, err := parseOffer(&cursor{b: b})
		if err != nil {
			return nil, err
		}
		return o.marshal()[1:], nil
	},
	"ask": func(b []byte) ([]byte, error) {
		a, err := parseAsk(&cursor{b: b})
		if err != nil {
			return nil, err
		}
		return a.marshal()[1:], nil
	},
}

// Theorem: no input makes a parser panic, and what one reads it writes so that it
// reads the same again.
func FuzzParsers(f *testing.F) {
	c := frame.CIDOf([]byte("x"))
	m := incarnation(3, bytes.Repeat([]byte{7}, 32), c)
	meta := &meta{N: 1, Status: opened, Type: 1, Epoch: 2, Links: frame.Links{Joined: c, Parent: c, Prev: c}, Author: m}
	var leaves leafTable
	seeds := map[string][]byte{
		"former": (&former{self: m, members: []dag.Member{m}}).marshal(),
		"answer": answer{at: idOf(c), joiner: m, since: time.Unix(9, 0), bundle: []byte("b")}.marshal(),
		"rows":   marshalTable([]tableRow{{Member: m, Next: 4, Prev: c}}),
		"leaves": leaves.set(3, m).marshal(),
		"chain":  chain{3, cid.Undef}.marshal(), // of links that name nothing
		"frame":  meta.marshal(),
		"word":   word{by: m, at: stamp{1, 2}, gone: true}.marshal(),
		"notice": (notice{Joiner: m, Head: c, Present: idOf(c), Signer: m, At: stamp{1, 2}, Signature: []byte("t")}).marshal()[1:],
		"offer":  (&offer{Joiner: m, Head: c, KeyPackage: []byte("k"), Signature: []byte("t")}).marshal()[1:],
		"ask":    (ask{Joiner: m, Ref: []byte("r"), Signature: []byte("t")}).marshal()[1:],
	}
	for name, b := range seeds {
		if _, err := parsers[name](b); err != nil {
			f.Fatalf("%s: the seed: %v", name, err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, parse := range parsers {
			once, err := parse(b)
			if err != nil {
				continue
			}
			twice, err := parse(once)
			if err != nil || !bytes.Equal(once, twice) {
				t.Errorf("%s: %x is written as %x, which is read as %x, %v", name, b, once, twice, err)
			}
		}
	})
}
