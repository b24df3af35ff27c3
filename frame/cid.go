package frame

import (
	"crypto/sha256"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// cidPrefix begins every CID of a block: CIDv1, raw, sha2-256, 32 bytes.
// Each of the four numbers is a varint of one byte.
var cidPrefix = [4]byte{1, cid.Raw, multihash.SHA2_256, sha256.Size}

// CIDLen is the length of a block's CID in binary form.
const CIDLen = 4 + sha256.Size

// CIDOf gives the CIDv1 (raw, sha2-256) of data. For a sealed block it is the
// id of the frame: vertex, gossip message id and fetch key.
func CIDOf(data []byte) cid.Cid { return blockCID(sha256.Sum256(data)) }

func blockCID(digest [sha256.Size]byte) cid.Cid {
	var b [CIDLen]byte
	copy(b[:], cidPrefix[:])
	copy(b[len(cidPrefix):], digest[:])
	// 36 bytes of this shape are always a CID, so the error cannot occur.
	c, err := cid.Cast(b[:])
	if err != nil {
		return cid.Undef
	}
	return c
}

// isBlockCID says whether b is the binary form of a block's CID. The same
// digest has other spellings as a CID; only this one may stand in a link.
func isBlockCID(b []byte) bool {
	return len(b) == CIDLen && [len(cidPrefix)]byte(b) == cidPrefix
}
