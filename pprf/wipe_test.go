package pprf

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

// spyKDF keeps every slice that it handed out.
type spyKDF struct{ given [][]byte }

func (*spyKDF) Size() int { return 32 }

func (k *spyKDF) Children(node []byte) (left, right []byte) {
	l, r := sha256.Sum256(append([]byte("l"), node...)), sha256.Sum256(append([]byte("r"), node...))
	k.given = append(k.given, l[:], r[:])
	return l[:], r[:]
}

func (k *spyKDF) Output(leaf []byte) []byte {
	k.given = append(k.given, leaf) // the tree's own memory, not to be read later
	return []byte("output")
}

// What the path went through is overwritten: the KDF's results and the leaf
// when Eval returns, the dropped node when Apply does.
func TestPathIsWiped(t *testing.T) {
	kdf := &spyKDF{}
	tree := New(kdf, bytes.Repeat([]byte{9}, 32), 256)
	_, p, err := tree.Eval(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if len(kdf.given) != 513 {
		t.Fatalf("%d secrets seen", len(kdf.given))
	}
	for i, secret := range kdf.given {
		if !bytes.Equal(secret, make([]byte, 32)) {
			t.Fatalf("secret %d is still there", i)
		}
	}
	dropped := tree.deltas[0].nodes[0].Secret
	if err := tree.Apply(&p); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(dropped, make([]byte, 32)) {
		t.Fatal("the dropped node is still there")
	}
	kept := tree.deltas[0].nodes[0].Secret
	tree.Wipe()
	if !bytes.Equal(kept, make([]byte, 32)) {
		t.Fatal("Wipe left a node")
	}
}
