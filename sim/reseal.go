package sim

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/mls"
)

// Every member of an epoch can derive the ratchet keys of all others, open a
// frame and seal its signed content again. This is that, by RFC 9420, sections
// 6.3, 8 and 9.1, for the one suite of this group.

// reseal is what may be changed without the author's key.
type reseal struct {
	tag     bool // another confirmation tag
	padding int  // bytes more
	guard   bool // another reuse guard
}

// reencrypter sends changed copies of every commit of somebody else: of those
// that were sent before it came, and of each new one in the moment in which it
// is published, so that the copies arrive before it.
func reencrypter(in *insider, a Adversary) {
	in.swift = true
	done := map[string]bool{}
	ways := []reseal{{tag: true}, {padding: 1}, {guard: true}, {tag: true, padding: 64}}
	copyAll := func() {
		in.listen()
		for _, at := range in.epochs() {
			for _, f := range in.thief.frames[at] {
				if f.header.ContentType != frame.Commit || done[f.cid] || in.r.captured[f.cid].forged || len(done) >= int(a.With["commits"]) {
					continue
				}
				done[f.cid] = true
				for _, way := range ways {
					if b, ok := in.again(at, f, way); ok {
						in.send(b)
					}
				}
			}
		}
	}
	in.r.ears = append(in.r.ears, func() {
		in.r.after(0, func() {
			if in.r.err == nil && (a.Until == 0 || in.r.now.Before(in.r.moment(a.Until))) {
				copyAll()
			}
		})
	})
	copyAll()
}

// again seals a commit anew. It fails on those that do not open for it.
func (in *insider) again(at string, f sealed, way reseal) (frame.Block, bool) {
	i := slices.IndexFunc(in.thief.roots[at], func(s source) bool { return s.of.state == "" || s.of.state == "fresh" })
	if i < 0 {
		return frame.Block{}, false
	}
	e, err := in.thief.load(in.thief.roots[at][i].records)
	if err != nil {
		return frame.Block{}, false
	}
	o, err := e.Open(f.msg, mls.OpenOptions{Env: in.env()})
	if err != nil || e.Apply(o.Delta) != nil { // now the author's handshake ratchet is a record
		return frame.Block{}, false
	}
	records := recordsOf(e)
	secret := records[fmt.Sprintf("r/%d/h", o.Sender)]
	if len(secret) < 34 || secret[1] != sha256.Size {
		return frame.Block{}, false
	}
	k := ratchet{secret[2:34]}.at(o.Generation)
	m := *f.msg
	if !k.change(&m, records["sec"][1:33], o.Commit.ConfirmationTag, way) {
		return frame.Block{}, false
	}
	return in.seal(m.Marshal(), e), true
}

func expand(secret []byte, label string, context []byte, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = quicVector(info, []byte("MLS 1.0 "+label))
	info = quicVector(info, context)
	out, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		panic("sim: " + err.Error()) // only for lengths beyond all sense
	}
	return out
}

// ratchet is the secret of generation 0.
type ratchet struct{ secret []byte }

// sealKey is the key of one generation.
type sealKey struct{ key, nonce []byte }

func (r ratchet) at(generation uint32) sealKey {
	secret := r.secret
	derive := func(label string, g uint32, n int) []byte {
		return expand(secret, label, binary.BigEndian.AppendUint32(nil, g), n)
	}
	for g := range generation {
		secret = derive("secret", g, sha256.Size)
	}
	return sealKey{derive("key", generation, 16), derive("nonce", generation, 12)}
}

func gcm(key []byte) cipher.AEAD {
	b, err := aes.NewCipher(key)
	if err != nil {
		panic("sim: " + err.Error())
	}
	a, err := cipher.NewGCM(b)
	if err != nil {
		panic("sim: " + err.Error())
	}
	return a
}

// change opens m, changes it and seals it again in place.
func (k sealKey) change(m *mls.PrivateMessage, senderData, tag []byte, way reseal) bool {
	data, aad, ok := openSenderData(m, senderData)
	if !ok {
		return false
	}
	guarded := func() []byte {
		out := slices.Clone(k.nonce)
		for i := range 4 {
			out[i] ^= data[8+i]
		}
		return out
	}
	content := quicVector(slices.Clone(aad), m.AuthenticatedData)
	plain, err := gcm(k.key).Open(nil, guarded(), m.Ciphertext, content)
	if err != nil {
		return false
	}
	if way.tag {
		i := bytes.LastIndex(plain, tag)
		if i < 0 {
			return false
		}
		plain[i] ^= 1
	}
	if way.guard {
		data[8] ^= 1
	}
	plain = append(plain, make([]byte, way.padding)...)
	m.Ciphertext = gcm(k.key).Seal(nil, guarded(), plain, content)
	seal, nonce := senderDataKey(m, senderData)
	m.EncryptedSenderData = seal.Seal(nil, nonce, data, aad)
	return true
}

// senderDataKey is what the sender data of a message is sealed with.
func senderDataKey(m *mls.PrivateMessage, secret []byte) (cipher.AEAD, []byte) {
	sample := m.Ciphertext[:min(len(m.Ciphertext), sha256.Size)]
	return gcm(expand(secret, "key", sample, 16)), expand(secret, "nonce", sample, 12)
}

// openSenderData gives leaf, generation and reuse guard, four bytes each.
func openSenderData(m *mls.PrivateMessage, secret []byte) (data, aad []byte, ok bool) {
	aad = quicVector(nil, m.GroupID)
	aad = binary.BigEndian.AppendUint64(aad, m.Epoch)
	aad = append(aad, byte(m.ContentType))
	seal, nonce := senderDataKey(m, secret)
	data, err := seal.Open(nil, nonce, m.EncryptedSenderData, aad)
	return data, aad, err == nil && len(data) == 12
}
