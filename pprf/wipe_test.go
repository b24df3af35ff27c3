package pprf

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

// spyKDF keeps the memory of every secret on a path that turns left.
type spyKDF struct{ given [][]byte }

func (*spyKDF) Size() int { return 32 }

func (k *spyKDF) Children(left, right, node []byte) {
	l, r := sha256.Sum256(append([]byte("l"), node...)), sha256.Sum256(append([]byte("r"), node...))
	copy(left, l[:])
	copy(right, r[:])
	k.given = append(k.given, left)
}

func (k *spyKDF) Output(leaf []byte) []byte {
	k.given = append(k.given, leaf) // the tree's own memory, not to be read later
	return []byte("output")
}

// What the path went through is overwritten: the nodes on it and the leaf
// when Eval returns, the dropped node when Apply does.
func TestPathIsWiped(t *testing.T) {
	kdf := &spyKDF{}
	tree := New(kdf, bytes.Repeat([]byte{9}, 32), 256)
	_, p, err := tree.Eval(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if len(kdf.given) != 257 {
		t.Fatalf("%d secrets seen", len(kdf.given))
	}
	for i, secret := range kdf.given {
		if !bytes.Equal(secret, make([]byte, 32)) {
			t.Fatalf("secret %d is still there", i)
		}
	}
	dropped := tree.deltas[0].secret(0)
	if err := tree.Apply(&p); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(dropped, make([]byte, 32)) {
		t.Fatal("the dropped node is still there")
	}
	kept := tree.deltas[0].secret(0)
	tree.Wipe()
	if !bytes.Equal(kept, make([]byte, 32)) {
		t.Fatal("Wipe left a node")
	}
}
