package synth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/dmlsd/dmls/mls"
)

// vec is opaque<V> (RFC 9420, section 2.1.2).
func vec(b []byte) []byte {
	n := len(b)
	var out []byte
	switch {
	case n < 1<<6:
		out = append(out, byte(n))
	case n < 1<<14:
		out = binary.BigEndian.AppendUint16(out, 0x4000|uint16(n))
	default:
		out = binary.BigEndian.AppendUint32(out, 0x80000000|uint32(n))
	}
	return append(out, b...)
}

func optional(b []byte) []byte {
	if b == nil {
		return []byte{0}
	}
	return append([]byte{1}, b...)
}

// credential is a basic credential with a name of 13 bytes.
func credential(i int) []byte {
	return append([]byte{0, 1}, vec(fmt.Appendf(nil, "member %06d", i))...)
}

// capabilities: mls10, suite 1, these extensions, basic credentials.
func capabilities(supported []mls.ExtensionType) []byte {
	var types []byte
	for _, t := range supported {
		types = binary.BigEndian.AppendUint16(types, uint16(t))
	}
	return append(append([]byte{2, 0, 1, 2, 0, 1}, vec(types)...), 0, 2, 0, 1)
}

// extensions is Extension<V>.
func extensions(xs []mls.Extension) []byte {
	var b []byte
	for _, x := range xs {
		b = append(binary.BigEndian.AppendUint16(b, uint16(x.Type)), vec(x.Data)...)
	}
	return vec(b)
}

// sign is SignWithLabel of section 5.1.2.
func sign(key ed25519.PrivateKey, label string, content []byte) []byte {
	return ed25519.Sign(key, append(vec([]byte("MLS 1.0 "+label)), vec(content)...))
}

// expand is ExpandWithLabel of section 8.
func expand(secret []byte, label string, context []byte, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(info, vec([]byte("MLS 1.0 "+label))...), vec(context)...)
	out, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		panic(err)
	}
	return out
}

func derive(secret []byte, label string) []byte { return expand(secret, label, nil, sha256.Size) }

func extract(salt, ikm []byte) []byte {
	out, err := hkdf.Extract(sha256.New, ikm, salt)
	if err != nil {
		panic(err)
	}
	return out
}

func mac(key, data []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(data)
	return m.Sum(nil)
}

func seal(key, nonce, plain []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return gcm.Seal(nil, nonce, plain, nil)
}
