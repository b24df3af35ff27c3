package group_test

import (
	"crypto/sha256"
	"testing"

	"encoding/binary"
	"encoding/hex"
	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/frame"
)

func mustCID(t testing.TB, s string) cid.Cid {
	c, err := cid.Decode(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func someCID(s string) cid.Cid { return frame.CIDOf([]byte(s)) }

// forgeUnread makes a frame of epoch 0, which nobody can open any more, with
// nothing but the gossip key.
func forgeUnread(t testing.TB, d *device, after ...cid.Cid) []byte {
	t.Helper()
	return forgeHeader(t, d, 0, frame.Links{Seq: 7, Prev: someCID("prev"), Parent: someCID("parent"), After: after}, 64)
}

// forgeHeader makes a frame of which nothing is right but the header.
func forgeHeader(t testing.TB, d *device, epoch uint64, l frame.Links, size int) []byte {
	t.Helper()
	gid, err := hex.DecodeString(d.g.ID())
	if err != nil {
		t.Fatal(err)
	}
	vec := func(b, v []byte) []byte {
		if len(v) < 64 {
			b = append(b, byte(len(v)))
		} else {
			b = binary.BigEndian.AppendUint16(b, uint16(len(v))|0x4000)
		}
		return append(b, v...)
	}
	m := []byte{0, 1, 0, 2}
	m = vec(m, gid)
	m = binary.BigEndian.AppendUint64(m, epoch)
	m = append(m, 1)
	m = vec(m, l.Marshal())
	sum := sha256.Sum256([]byte("noise"))
	m = vec(m, sum[:28])
	m = vec(m, make([]byte, size))
	f, err := frame.New(m, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return gossip(t, d).Seal(f.Marshal()).Data
}
