package frame

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// testCID is a block's CID that differs for each n.
func testCID(n int) cid.Cid { return CIDOf(fmt.Append(nil, n)) }

func testCIDs(from, n int) []cid.Cid {
	var set []cid.Cid
	for i := range n {
		set = append(set, testCID(from+i))
	}
	slices.SortFunc(set, compareCIDs)
	return set
}

func testLinks() Links {
	return Links{
		Leaf: 2, Joined: testCID(3), Seq: 7, Prev: testCID(1), Parent: testCID(2), Generation: 3, Confirms: testCID(4),
		After: testCIDs(10, 3), Supersedes: testCIDs(20, 2),
	}
}

func TestLinksRoundTrip(t *testing.T) {
	full := testLinks()
	full.After, full.Supersedes = testCIDs(100, MaxAfter), testCIDs(200, MaxSupersedes)
	for _, l := range []Links{{}, testLinks(), full, {Leaf: 1<<32 - 1, Seq: 1<<64 - 1, Generation: 1<<32 - 1}} {
		if err := l.Validate(); err != nil {
			t.Fatal(err)
		}
		got, err := ParseLinks(l.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, l) {
			t.Fatalf("got %+v, want %+v", got, l)
		}
	}
}

// After and Supersedes are sets: order and repetition do not reach the wire.
func TestLinksAreSets(t *testing.T) {
	l := testLinks()
	want := l.Marshal()
	mixed := []cid.Cid{l.After[2], l.After[0], l.After[1], l.After[0]}
	kept := slices.Clone(mixed)
	l.After = mixed
	if !bytes.Equal(l.Marshal(), want) {
		t.Fatal("order of After changed the bytes")
	}
	if !slices.Equal(mixed, kept) {
		t.Fatal("Marshal sorted the caller's slice")
	}
}

// The bytes of the smallest links, written out by hand.
func TestLinksBytes(t *testing.T) {
	want := "19" + // aad_items<V>, 25 bytes
		"f0d4" + "16" + // component_id, aad_item_data<V>, 22 bytes
		"00000002" + "00" + // leaf, joined
		"0000000000000005" + "00" + "00" + // seq, prev, parent
		"00000009" + "00" + "00" + "00" // generation, confirms, after, supersedes
	got := Links{Leaf: 2, Seq: 5, Generation: 9}.Marshal()
	if hex.EncodeToString(got) != want {
		t.Fatalf("got  %x\nwant %s", got, want)
	}
}

// wrap puts a body into the SafeAAD.
func wrap(id uint16, body []byte) []byte {
	return appendVector(nil, appendVector([]byte{byte(id >> 8), byte(id)}, body))
}

// linksBody builds a DagLinks with the two sets given raw.
func linksBody(after, supersedes []byte) []byte {
	body := make([]byte, 4+1+8+1+1+4+1) // zero numbers, four empty links
	return appendVector(appendVector(body, after), supersedes)
}

func rawSet(set []cid.Cid) []byte {
	var b []byte
	for _, c := range set {
		b = appendVector(b, c.Bytes())
	}
	return b
}

func TestParseLinksRefuses(t *testing.T) {
	two := testCIDs(1, 2)
	good := testLinks().Marshal()
	oneLink := func(c []byte) []byte { // a DagLinks whose prev is c
		body := appendVector(make([]byte, 4+1+8), c)
		return append(body, make([]byte, 1+4+1+1+1)...)
	}
	digest := testCID(1).Hash()
	dagPB := cid.NewCidV1(cid.DagProtobuf, digest).Bytes()
	sha512, _ := multihash.Sum([]byte("x"), multihash.SHA2_512, -1)
	short, _ := multihash.Sum([]byte("x"), multihash.SHA2_256, 20)
	longForm := append([]byte{0x81, 0x00}, testCID(1).Bytes()[1:]...) // version 1 as two bytes

	cases := map[string][]byte{
		"nothing":                nil,
		"empty SafeAAD":          {0},
		"trailing byte":          append(slices.Clone(good), 0),
		"cut off":                good[:len(good)-1],
		"another component":      wrap(0xF0D5, linksBody(nil, nil)),
		"two items":              appendVector(nil, bytes.Repeat(wrap(ComponentID, linksBody(nil, nil))[1:], 2)),
		"byte after the links":   wrap(ComponentID, append(linksBody(nil, nil), 0)),
		"after unsorted":         wrap(ComponentID, linksBody(rawSet([]cid.Cid{two[1], two[0]}), nil)),
		"after with a double":    wrap(ComponentID, linksBody(rawSet([]cid.Cid{two[0], two[0]}), nil)),
		"after with empty link":  wrap(ComponentID, linksBody([]byte{0}, nil)),
		"17 after":               wrap(ComponentID, linksBody(rawSet(testCIDs(1, MaxAfter+1)), nil)),
		"supersedes unsorted":    wrap(ComponentID, linksBody(nil, rawSet([]cid.Cid{two[1], two[0]}))),
		"65 supersedes":          wrap(ComponentID, linksBody(nil, rawSet(testCIDs(1, MaxSupersedes+1)))),
		"after cut in a link":    wrap(ComponentID, linksBody(rawSet(two)[:50], nil)),
		"CIDv0":                  wrap(ComponentID, oneLink(digest)),
		"another codec":          wrap(ComponentID, oneLink(dagPB)),
		"another hash":           wrap(ComponentID, oneLink(cid.NewCidV1(cid.Raw, sha512).Bytes())),
		"shortened hash":         wrap(ComponentID, oneLink(cid.NewCidV1(cid.Raw, short).Bytes())),
		"CID in a longer form":   wrap(ComponentID, oneLink(longForm)),
		"length in a long form":  append([]byte{0x40, byte(len(linksBody(nil, nil)) + 3)}, wrap(ComponentID, linksBody(nil, nil))[1:]...),
		"length with prefix 3":   {0xc0, 0, 0, 0, 0, 0, 0, 0},
		"length beyond the data": {0xbf, 0xff, 0xff, 0xff, 0},
	}
	if _, err := ParseLinks(wrap(ComponentID, oneLink(two[0].Bytes()))); err != nil {
		t.Fatalf("the cases' own frame is wrong: %v", err)
	}
	if _, err := ParseLinks(wrap(ComponentID, linksBody(rawSet(two), rawSet(two)))); err != nil {
		t.Fatalf("the cases' own frame is wrong: %v", err)
	}
	for name, b := range cases {
		if l, err := ParseLinks(b); !errors.Is(err, ErrLinks) {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
}

// Validate and ParseLinks agree on what can be sent.
func TestValidate(t *testing.T) {
	pb := cid.NewCidV1(cid.DagProtobuf, testCID(1).Hash())
	for name, l := range map[string]Links{
		"prev":          {Prev: pb},
		"parent":        {Parent: pb},
		"confirms":      {Confirms: pb},
		"after":         {After: []cid.Cid{pb}},
		"empty after":   {After: []cid.Cid{cid.Undef}},
		"supersedes":    {Supersedes: []cid.Cid{pb}},
		"17 after":      {After: testCIDs(1, MaxAfter+1)},
		"65 supersedes": {Supersedes: testCIDs(1, MaxSupersedes+1)},
	} {
		if err := l.Validate(); !errors.Is(err, ErrLinks) {
			t.Errorf("%s: Validate: %v", name, err)
		}
		if _, err := ParseLinks(l.Marshal()); !errors.Is(err, ErrLinks) {
			t.Errorf("%s: ParseLinks: %v", name, err)
		}
	}
}

// Theorem: what parses is valid and is what marshals, byte for byte.
func FuzzParseLinks(f *testing.F) {
	f.Add(Links{}.Marshal())
	f.Add(testLinks().Marshal())
	f.Add(wrap(ComponentID, linksBody(nil, rawSet(testCIDs(1, 3)))))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLinks(b)
		if err != nil {
			if !errors.Is(err, ErrLinks) {
				t.Fatal(err)
			}
			return
		}
		if err := l.Validate(); err != nil {
			t.Fatal(err)
		}
		if again := l.Marshal(); !bytes.Equal(again, b) {
			t.Fatalf("parsed %x, marshalled %x", b, again)
		}
	})
}
