package mls

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash"
	"slices"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// slow is the draft's text with nothing but the standard library: no code of
// the package, no caches, every node from the root.
type slow struct {
	newHash func() hash.Hash
	nh, nk  int
	aead    func(key []byte) (cipher.AEAD, error)
}

func slowSuite(id CipherSuite) slow {
	gcm := func(key []byte) (cipher.AEAD, error) {
		b, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(b)
	}
	switch id {
	case 1, 2:
		return slow{sha256.New, 32, 16, gcm}
	case 3:
		return slow{sha256.New, 32, 32, chacha20poly1305.New}
	case 5:
		return slow{sha512.New, 64, 32, gcm}
	case 7:
		return slow{sha512.New384, 48, 32, gcm}
	}
	panic("no vectors of this suite")
}

func (s slow) mac(key []byte, parts ...[]byte) []byte {
	m := hmac.New(s.newHash, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

func slowVec(b []byte) []byte {
	switch n := len(b); {
	case n < 1<<6:
		return append([]byte{byte(n)}, b...)
	case n < 1<<14:
		return append(binary.BigEndian.AppendUint16(nil, 0x4000|uint16(n)), b...)
	default:
		return append(binary.BigEndian.AppendUint32(nil, 0x80000000|uint32(n)), b...)
	}
}

// expand is ExpandWithLabel for at most one block.
func (s slow) expand(secret []byte, label string, context []byte, n int) []byte {
	return s.mac(secret, binary.BigEndian.AppendUint16(nil, uint16(n)), slowVec([]byte("MLS 1.0 "+label)), slowVec(context), []byte{1})[:n]
}

func (s slow) derive(secret []byte, label string) []byte { return s.expand(secret, label, nil, s.nh) }

func (s slow) side(node []byte, right bool) []byte {
	if right {
		return s.expand(node, "tree", []byte("right"), s.nh)
	}
	return s.expand(node, "tree", []byte("left"), s.nh)
}

func bitOf(b []byte, i int) bool { return b[i/8]>>(7-i%8)&1 == 1 }

// pprf is the output at an index and the state when several were punctured.
func (s slow) pprf(root, index []byte) []byte {
	for i := range 8 * s.nh {
		root = s.side(root, bitOf(index, i))
	}
	return s.derive(root, "pprf")
}

func (s slow) state(root []byte, punctured []hexBytes) (nodes int, digest []byte) {
	var lines [][]byte
	var walk func(node []byte, prefix []byte, depth int)
	walk = func(node []byte, prefix []byte, depth int) {
		hit := slices.ContainsFunc(punctured, func(p hexBytes) bool {
			for i := range depth {
				if bitOf(p, i) != bitOf(prefix, i) {
					return false
				}
			}
			return true
		})
		if !hit {
			line := binary.BigEndian.AppendUint16(nil, uint16(depth))
			lines = append(lines, append(append(line, prefix[:(depth+7)/8]...), node...))
			return
		}
		if depth == 8*s.nh {
			return
		}
		walk(s.side(node, false), prefix, depth+1)
		right := bytes.Clone(prefix)
		right[depth/8] |= 1 << (7 - depth%8)
		walk(s.side(node, true), right, depth+1)
	}
	walk(root, make([]byte, s.nh), 0)
	h := s.newHash()
	for _, l := range lines {
		h.Write(l)
	}
	return len(lines), h.Sum(nil)
}

// fill derives all of an epoch from its epoch_secret.
func (s slow) fill(x *dmlsEpoch, transcript []byte) {
	x.ParentInitSecret = s.derive(x.EpochSecret, "parent_init")
	x.DMLSEpoch = s.derive(x.EpochSecret, "epoch")
	x.Authenticator = s.derive(x.EpochSecret, "authentication")
	x.ConfirmationTag = s.mac(s.derive(x.EpochSecret, "confirm"), transcript)
}

// child derives an epoch from its parent, path secret and GroupContext.
func (s slow) child(parent *dmlsEpoch, pathSecret, context, transcript []byte, leaves uint32) *dmlsEpoch {
	x := &dmlsEpoch{PathSecret: pathSecret, GroupContext: context, LeafCount: leaves}
	x.CommitSecret = s.derive(pathSecret, "path")
	x.CommitConfirmation = s.derive(pathSecret, "conf")
	x.Index = s.expand(x.CommitConfirmation, "child_init", context, s.nh)
	x.InitSecret = s.pprf(parent.ParentInitSecret, x.Index)
	x.JoinerSecret = s.expand(s.mac(x.InitSecret, x.CommitSecret), "joiner", context, s.nh)
	x.EpochSecret = s.expand(s.mac(x.JoinerSecret, make([]byte, s.nh)), "epoch", context, s.nh)
	s.fill(x, transcript)
	return x
}

// open decrypts a PrivateMessage from the epoch secret alone, and checks that
// padding is that of Padmé. It gives sender, generation and the content.
func (s slow) open(t *testing.T, x *dmlsEpoch, message []byte) (leaf, generation uint32, guard, content []byte) {
	t.Helper()
	rest := message[4:] // version, wire format
	vec := func() []byte {
		n, k := int(rest[0]&0x3f), 1<<(rest[0]>>6)
		for _, b := range rest[1:k] {
			n = n<<8 | int(b)
		}
		out := rest[k : k+n]
		rest = rest[k+n:]
		return out
	}
	group := vec()
	head := rest[:9] // epoch, content type
	rest = rest[9:]
	aad, encrypted, ciphertext := vec(), vec(), vec()
	seal := func(key, nonce, ct, aad []byte) []byte {
		a, err := s.aead(key)
		if err != nil {
			t.Fatal(err)
		}
		out, err := a.Open(nil, nonce, ct, aad)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	senderDataAAD := append(slowVec(group), head...)
	secret := s.derive(x.EpochSecret, "sender data")
	sample := ciphertext[:s.nh]
	data := seal(s.expand(secret, "key", sample, s.nk), s.expand(secret, "nonce", sample, 12), encrypted, senderDataAAD)
	leaf, generation, guard = binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:]), data[8:]
	node := s.derive(x.EpochSecret, "encryption")
	for width := x.LeafCount; width > 1; width /= 2 {
		node = s.side(node, leaf%width >= width/2)
	}
	ratchet := "handshake"
	if head[8] == 1 {
		ratchet = "application"
	}
	node = s.derive(node, ratchet)
	step := func(label string, g uint32, n int) []byte {
		return s.expand(node, label, binary.BigEndian.AppendUint32(nil, g), n)
	}
	for g := range generation {
		node = step("secret", g, s.nh)
	}
	nonce := step("nonce", generation, 12)
	for i, b := range guard {
		nonce[i] ^= b
	}
	return leaf, generation, guard, seal(step("key", generation, s.nk), nonce, ciphertext, append(senderDataAAD, slowVec(aad)...))
}

// canonical recomputes reuse guard and padding of an application frame.
func (s slow) canonical(t *testing.T, x *dmlsEpoch, f dmlsFrame, guard, content []byte) {
	t.Helper()
	body := slowVec(f.Data)
	if !bytes.HasPrefix(content, body) {
		t.Fatal("content")
	}
	n, k := int(content[len(body)]&0x3f), 1<<(content[len(body)]>>6)
	for _, b := range content[len(body)+1 : len(body)+k] {
		n = n<<8 | int(b)
	}
	end := len(body) + k + n
	signature := content[len(body)+k : end]
	size := 1
	for size = end; ; size++ { // the first length that Padmé allows
		e := 0
		for 1<<(e+1) <= size {
			e++
		}
		bits := 0
		for 1<<bits <= e {
			bits++
		}
		if size%(1<<max(e-bits, 0)) == 0 {
			break
		}
	}
	if len(content) != size || len(bytes.Trim(content[end:], "\x00")) != 0 {
		t.Errorf("%d bytes of content, want %d", len(content), size)
	}
	c, err := ParseGroupContext(x.GroupContext)
	if err != nil {
		t.Fatal(err)
	}
	tbs := []byte{0, 1, 0, 2}
	tbs = append(tbs, slowVec(c.GroupID)...)
	tbs = binary.BigEndian.AppendUint64(tbs, c.Epoch)
	tbs = binary.BigEndian.AppendUint32(append(tbs, 1), f.Sender)
	tbs = append(append(append(tbs, slowVec(f.AuthenticatedData)...), 1), body...)
	tbs = append(tbs, x.GroupContext...)
	value := append(slowVec(tbs), slowVec(signature)...)
	h := s.newHash()
	h.Write(slowVec([]byte("DMLS 1.0 Reuse Guard")))
	h.Write(slowVec(value))
	equal(t, "reuse guard", guard, h.Sum(nil)[:4])
}
