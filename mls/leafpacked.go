package mls

import "fmt"

// packedLeaf is a LeafNode as trees hold it: its encoding, the form of which was
// checked. A parsed one takes three times the memory, and in a large group
// hardly any leaf is ever asked for.
type packedLeaf string

// packLeafNode reads a leaf and copies its bytes; empty after an error.
func packLeafNode(r *reader) packedLeaf {
	probe := &reader{buf: r.buf, err: r.err, alias: true}
	skipLeafNode(probe)
	if probe.err != nil {
		r.fail(probe.err)
		return ""
	}
	return packedLeaf(r.take(len(r.buf) - len(probe.buf)))
}

// pack copies the encoding of a leaf.
func (l *LeafNode) pack() packedLeaf { return packedLeaf(l.Marshal()) }

// unpack parses a leaf; nil for a blank one. All fields are parts of one copy of
// the encoding.
func (l packedLeaf) unpack() *LeafNode {
	if l == "" {
		return nil
	}
	raw := []byte(l)
	out := parseLeafFields(&reader{buf: raw, alias: true})
	out.raw = raw
	return &out
}

// leafVerifier verifies leaves one after the other, in the same memory.
type leafVerifier struct {
	s            *suite
	env          Env
	groupID      []byte
	raw          []byte
	tbs, content writer
}

// verify is verifyLeaf of any source.
func (v *leafVerifier) verify(packed packedLeaf, index LeafIndex) error {
	v.raw = append(v.raw[:0], packed...)
	l := parseLeafFields(&reader{buf: v.raw, alias: true})
	l.raw = v.raw
	if err := v.s.checkLeaf(&l, 0); err != nil {
		return err
	}
	v.tbs.buf = v.tbs.buf[:0]
	l.writeTBS(&v.tbs, v.groupID, index)
	v.content.buf = appendSignContent(v.content.buf[:0], labelLeafNodeTBS, v.tbs.buf)
	if err := v.s.verifyContent(v.env, l.SignatureKey, labelLeafNodeTBS, v.content.buf, l.Signature); err != nil {
		return fmt.Errorf("%w: %w", ErrLeafNode, err)
	}
	return nil
}

func (l packedLeaf) write(w *writer) { w.buf = append(w.buf, l...) }

// cut splits off the vector at the beginning.
func (l packedLeaf) cut() (content, rest packedLeaf) {
	size, n := 1<<(l[0]>>6), int(l[0]&0x3f)
	for i := 1; i < size; i++ {
		n = n<<8 | int(l[i])
	}
	return l[size : size+n], l[size+n:]
}

func (l packedLeaf) encryptionKey() []byte {
	key, _ := l.cut()
	return []byte(key)
}

func (l packedLeaf) signatureKey() []byte {
	_, l = l.cut()
	key, _ := l.cut()
	return []byte(key)
}

// traits is what the summary of a leaf is made of.
type traits struct{ credentialType, capabilities packedLeaf }

func (l packedLeaf) traits() traits {
	t, _ := l.middle()
	return t
}

// middle passes the credential, which is a vector in all known types, and the
// capabilities, which are five.
func (l packedLeaf) middle() (t traits, rest packedLeaf) {
	_, l = l.cut()
	_, l = l.cut()
	t.credentialType = l[:2]
	_, l = l[2:].cut()
	rest = l
	for range 5 {
		_, rest = rest.cut()
	}
	t.capabilities = l[:len(l)-len(rest)]
	return t, rest
}

// parentHash is nil for a leaf of another source than commit.
func (l packedLeaf) parentHash() []byte {
	_, l = l.middle()
	if LeafNodeSource(l[0]) != LeafNodeSourceCommit {
		return nil
	}
	hash, _ := l[1:].cut()
	return []byte(hash)
}
