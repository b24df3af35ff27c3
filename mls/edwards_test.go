package mls

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"testing"
)

// RFC 8032, section 5.1.7 lets a verifier check the group equation itself or
// eight times it. Members must agree, so there is one rule here, on all paths:
// the equation itself, S·B = R + k·A, with R compared byte by byte. It follows
// that nothing is verified in batches (docs/decisions/0060). The two rules part
// where a point has a component of small order.

// point is an affine point of edwards25519, computed in the open: for tests.
type point struct{ x, y *big.Int }

var (
	fieldP, _  = new(big.Int).SetString("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed", 16)
	orderL, _  = new(big.Int).SetString("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", 16)
	curveD, _  = new(big.Int).SetString("52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3", 16)
	basePoint  = mustPoint("5866666666666666666666666666666666666666666666666666666666666666")
	orderEight = mustPoint("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
)

func mustPoint(s string) point {
	b, err := hex.DecodeString(s)
	p, ok := decodePoint(b)
	if err != nil || !ok {
		panic(s)
	}
	return p
}

func little(b []byte) *big.Int {
	r := slices.Clone(b)
	slices.Reverse(r)
	return new(big.Int).SetBytes(r)
}

func modP(x *big.Int) *big.Int { return x.Mod(x, fieldP) }

// decodePoint is RFC 8032, section 5.1.3.
func decodePoint(b []byte) (point, bool) {
	c := slices.Clone(b)
	c[31] &= 0x7f
	y := little(c)
	y2 := new(big.Int).Mul(y, y)
	u := modP(new(big.Int).Sub(y2, big.NewInt(1)))
	v := modP(new(big.Int).Add(new(big.Int).Mul(curveD, y2), big.NewInt(1)))
	x := new(big.Int).ModSqrt(modP(new(big.Int).Mul(u, new(big.Int).ModInverse(v, fieldP))), fieldP)
	if x == nil {
		return point{}, false
	}
	if x.Bit(0) != uint(b[31]>>7) {
		x.Sub(fieldP, x)
	}
	return point{x, y}, true
}

func (p point) encode() []byte {
	b := p.y.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	b[31] |= byte(p.x.Bit(0)) << 7
	return b
}

func (p point) add(q point) point {
	xy, yx := new(big.Int).Mul(p.x, q.y), new(big.Int).Mul(p.y, q.x)
	xx, yy := new(big.Int).Mul(p.x, q.x), new(big.Int).Mul(p.y, q.y)
	e := modP(new(big.Int).Mul(curveD, modP(new(big.Int).Mul(xx, yy))))
	div := func(a, b *big.Int) *big.Int {
		return modP(new(big.Int).Mul(a, new(big.Int).ModInverse(modP(b), fieldP)))
	}
	one := big.NewInt(1)
	return point{div(xy.Add(xy, yx), new(big.Int).Add(one, e)), div(yy.Add(yy, xx), new(big.Int).Sub(one, e))}
}

func (p point) times(k *big.Int) point {
	sum := point{big.NewInt(0), big.NewInt(1)}
	for i := k.BitLen() - 1; i >= 0; i-- {
		sum = sum.add(sum)
		if k.Bit(i) == 1 {
			sum = sum.add(p)
		}
	}
	return sum
}

// challenge is k, before it is reduced for anything.
func challenge(r, public, message []byte) *big.Int {
	h := sha512.Sum512(slices.Concat(r, public, message))
	return new(big.Int).Mod(little(h[:]), orderL)
}

// signature of a message under a key that may have a part of small order: the
// secret scalar a accounts for the rest of it, and a part may be in R, too.
func smallOrderSignature(a, r *big.Int, public, message []byte, inR point) []byte {
	encoded := basePoint.times(r).add(inR).encode()
	s := new(big.Int).Mul(challenge(encoded, public, message), a)
	s.Add(s, r).Mod(s, orderL)
	b := s.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	return append(encoded, b...)
}

func TestEd25519SmallOrder(t *testing.T) {
	neutral := point{big.NewInt(0), big.NewInt(1)}
	if !bytes.Equal(orderEight.times(big.NewInt(8)).encode(), neutral.encode()) || bytes.Equal(orderEight.times(big.NewInt(4)).encode(), neutral.encode()) {
		t.Fatal("the point is not of order eight")
	}
	a, r := big.NewInt(123456789), big.NewInt(987654321)
	for _, c := range []struct {
		name   string
		secret *big.Int
		public point
		inR    point
	}{
		{"a key of small order", big.NewInt(0), orderEight, neutral},
		{"a key of mixed order", a, basePoint.times(a).add(orderEight), neutral},
		{"R of mixed order", a, basePoint.times(a), orderEight},
		{"both of mixed order", a, basePoint.times(a).add(orderEight), orderEight},
		{"neither", a, basePoint.times(a), neutral},
	} {
		public := c.public.encode()
		small := smallPart(c.public, c.secret)
		agreed, refused := 0, 0
		for i := range 48 {
			message := fmt.Appendf(nil, "message %d", i)
			sig := smallOrderSignature(c.secret, r, public, message, c.inR)
			// Eight times the equation always holds. Itself it holds if what is left
			// of small order cancels.
			k := challenge(sig[:32], public, message)
			rest := c.inR.add(small.times(k.Mod(k, big.NewInt(8))))
			want := bytes.Equal(rest.encode(), neutral.encode())
			if got := (ed25519Scheme{}).verify(public, message, sig); got != want {
				t.Errorf("%s, message %d: %v, want %v", c.name, i, got, want)
			}
			if want {
				agreed++
			} else {
				refused++
			}
		}
		if c.name != "neither" && refused == 0 || c.name != "R of mixed order" && agreed == 0 {
			t.Errorf("%s: %d valid, %d not: the case says nothing", c.name, agreed, refused)
		}
	}
}

// smallPart is what a public key has beside its secret scalar times the base.
func smallPart(public point, secret *big.Int) point {
	minus := new(big.Int).Sub(orderL, secret)
	return public.add(basePoint.times(minus))
}
