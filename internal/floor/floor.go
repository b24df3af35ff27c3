// Package floor times the primitives that MLS operations are made of, in this
// process and on one core, and adds up what each operation needs at least. A
// benchmark that is reported as a multiple of its floor can be compared between
// machines and days.
package floor

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"github.com/cloudflare/circl/dh/x25519"
)

// Primitives are medians of one call each. X25519 is CIRCL's, all else the
// standard library's.
type Primitives struct {
	X25519Public time.Duration `json:"x25519_public"` // of a private key
	X25519Shared time.Duration `json:"x25519_shared"`
	Extract      time.Duration `json:"hkdf_extract"`
	Expand       time.Duration `json:"hkdf_expand"` // 32 bytes
	HMAC         time.Duration `json:"hmac_kept"`   // of 22 bytes, with a key set before
	SHA256       time.Duration `json:"sha256_100"`  // of 100 bytes
	Sign         time.Duration `json:"ed25519_sign"`
	Verify       time.Duration `json:"ed25519_verify"`
	Seal32       time.Duration `json:"aes_gcm_32"`   // new key
	Seal1K       time.Duration `json:"aes_gcm_1024"` // new key
}

// median runs f in batches of some 0.2 ms and gives the median for one call.
func median(f func()) time.Duration {
	calls := 1
	for {
		start := time.Now()
		for range calls {
			f()
		}
		if time.Since(start) > 200*time.Microsecond || calls > 1<<16 {
			break
		}
		calls *= 2
	}
	samples := make([]time.Duration, 101)
	for i := range samples {
		start := time.Now()
		for range calls {
			f()
		}
		samples[i] = time.Since(start)
	}
	slices.Sort(samples)
	return samples[len(samples)/2] / time.Duration(calls)
}

// Measure times all primitives; it takes about a third of a second.
func Measure() Primitives {
	var p Primitives
	var private, public, shared x25519.Key
	private[3] = 7
	x25519.KeyGen(&public, &private)
	p.X25519Public = median(func() { x25519.KeyGen(&shared, &private) })
	p.X25519Shared = median(func() { x25519.Shared(&shared, &private, &public) })

	secret, message := make([]byte, 32), make([]byte, 300)
	must := func(_ []byte, err error) {
		if err != nil {
			panic(err)
		}
	}
	p.Extract = median(func() { must(hkdf.Extract(sha256.New, secret, secret)) })
	p.Expand = median(func() { must(hkdf.Expand(sha256.New, secret, "22 bytes of info, so.", 32)) })
	mac, out := hmac.New(sha256.New, secret), make([]byte, 0, 32)
	p.HMAC = median(func() {
		mac.Reset()
		mac.Write(message[:22])
		out = mac.Sum(out[:0])
	})
	p.SHA256 = median(func() { sha256.Sum256(message[:100]) })

	key := ed25519.NewKeyFromSeed(secret)
	p.Sign = median(func() { ed25519.Sign(key, message) })
	p.Verify = Verify()
	p.Seal32 = median(func() { sealOnce(secret[:16], message[:32]) })
	kilobyte := make([]byte, 1024)
	p.Seal1K = median(func() { sealOnce(secret[:16], kilobyte) })
	return p
}

// Verify is the median of one Ed25519 verification.
func Verify() time.Duration {
	s := newSigned(0)
	return median(s.verify)
}

// VerifyOn verifies n different signatures on so many cores at once and gives
// the time that this took, divided by n: what the machine can do for as long as
// a join lasts, interruptions included.
func VerifyOn(cores, n int) time.Duration {
	all := make([]signed, 256)
	for i := range all {
		all[i] = newSigned(byte(i))
	}
	var wait sync.WaitGroup
	begin := time.Now()
	for core := range cores {
		wait.Go(func() {
			for i := core; i < n; i += cores {
				all[i%len(all)].verify()
			}
		})
	}
	wait.Wait()
	return time.Since(begin) / time.Duration(n)
}

// signed is a message with its signature.
type signed struct {
	key                ed25519.PublicKey
	message, signature []byte
}

func newSigned(i byte) signed {
	seed, message := make([]byte, 32), make([]byte, 300)
	seed[0], message[0] = i, i
	key := ed25519.NewKeyFromSeed(seed)
	return signed{key.Public().(ed25519.PublicKey), message, ed25519.Sign(key, message)}
}

func (s *signed) verify() {
	if !ed25519.Verify(s.key, s.message, s.signature) {
		panic("floor: own signature refused")
	}
}

func sealOnce(key, plain []byte) {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	var nonce [12]byte
	gcm.Seal(nil, nonce[:], plain, nil)
}

// derive is a node's key pair from its path secret.
func (p Primitives) derive() time.Duration { return p.X25519Public + 2*p.Expand + p.Extract }

// keys is what HPKE does around the agreement: shared secret, key and nonce.
func (p Primitives) keys() time.Duration { return 2*p.Extract + 3*p.Expand + p.Seal32 }

// HPKESeal is one encryption to a public key, the info being hashed already.
func (p Primitives) HPKESeal() time.Duration {
	return p.X25519Public + p.Extract + p.Expand + p.X25519Shared + p.keys()
}

// HPKEOpen is its inverse.
func (p Primitives) HPKEOpen() time.Duration { return p.X25519Shared + p.keys() }

// schedule is the key schedule of an epoch and the transcript.
func (p Primitives) schedule() time.Duration { return 2*p.Extract + 13*p.Expand + 6*p.SHA256 }

// levels is the public work on a path: parent hashes and tree hashes.
func (p Primitives) levels(n int) time.Duration { return time.Duration(2*n+1) * p.SHA256 }

// Commit is an empty commit with a path of so many levels, created and applied:
// one leaf key, a derived key, a path secret and a seal a level, two signatures.
func (p Primitives) Commit(levels int) time.Duration {
	l := time.Duration(levels)
	return (l+1)*p.derive() + l*(p.Expand+p.HPKESeal()) + 2*p.Sign + p.levels(levels) + p.schedule()
}

// Process is such a commit received: one opened path secret, so many derived
// keys, two verifications.
func (p Primitives) Process(levels, derived int) time.Duration {
	return p.HPKEOpen() + time.Duration(derived)*(p.derive()+p.Expand) + 2*p.Verify + p.levels(levels) + p.schedule()
}

// Join verifies every leaf, on so many cores.
func (p Primitives) Join(n, cores int) time.Duration {
	return time.Duration(n) * p.Verify / time.Duration(cores)
}

// Build is one commit that adds n-1 members: a KeyPackage has two signatures,
// a Welcome one seal. One core.
func (p Primitives) Build(n int) time.Duration {
	return time.Duration(n-1) * (2*p.Verify + p.HPKESeal() + 6*p.SHA256)
}

// Protect is an application message of 1 KiB: signature, ratchet, two AEADs.
func (p Primitives) Protect() time.Duration { return p.Sign + 6*p.Expand + p.Seal1K + p.Seal32 }

// Open is its inverse.
func (p Primitives) Open() time.Duration { return p.Verify + 6*p.Expand + p.Seal1K + p.Seal32 }

// Eval is a PPRF evaluation over 256 levels: 512 HMACs with kept states.
func (p Primitives) Eval() time.Duration { return 512 * p.HMAC }
