package group

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/mls"
)

// Private extension types (RFC 9420 section 17.3 leaves 0xF000 to 0xFFFF for
// private use). The first is named in required_capabilities, so that a plain
// MLS client refuses the group instead of diverging from it.
const (
	extGroup mls.ExtensionType = 0xF0D1 // GroupContext: version, policy, name, admins
	extName  mls.ExtensionType = 0xF0D2 // LeafNode: the member's name, UTF-8
	extBase  mls.ExtensionType = 0xF0D3 // GroupInfo: the joiner's base

	extReplaces mls.ExtensionType = 0xF0D4 // KeyPackage: the incarnation that it replaces
)

const groupVersion = 1

// groupInfo is the content of extGroup:
//
//	struct { uint8 version; uint8 policy; opaque name<V>;
//	         opaque admin<V>...; } DMLSGroup // signature keys, ascending, to the end
type groupInfo struct {
	Policy Policy
	Name   string
	Admins []string // as sorted byte strings; none in an open group, else one at least
}

func (e groupInfo) marshal() []byte {
	var w buffer
	w.u8(groupVersion)
	w.u8(uint8(e.Policy))
	w.bytes([]byte(e.Name))
	for _, k := range e.Admins {
		w.bytes([]byte(k))
	}
	return w.b
}

func parseGroupInfo(b []byte) (groupInfo, error) {
	r := cursor{b: b}
	version := r.u8()
	e := groupInfo{Policy: Policy(r.u8()), Name: string(r.bytes())}
	for r.err == nil && len(r.b) > 0 {
		k := string(r.bytes())
		if n := len(e.Admins); r.err == nil && (k == "" || n > 0 && e.Admins[n-1] >= k) {
			return groupInfo{}, fmt.Errorf("%w: group extension: admins out of order", ErrMalformed)
		}
		e.Admins = append(e.Admins, k)
	}
	if err := r.done(); err != nil {
		return groupInfo{}, fmt.Errorf("%w: group extension: %w", ErrMalformed, err)
	}
	if version != groupVersion || e.Policy != PolicyAdmins && e.Policy != PolicyOpen {
		return groupInfo{}, fmt.Errorf("%w: group extension of version %d, policy %d", errUnsupported, version, e.Policy)
	}
	if (e.Policy == PolicyAdmins) != (len(e.Admins) > 0) {
		return groupInfo{}, fmt.Errorf("%w: %d admins under the policy %s", ErrMalformed, len(e.Admins), e.Policy)
	}
	return e, nil
}

// base is the content of extBase: where a joiner begins. It travels encrypted
// in the Welcome's GroupInfo and is signed with it.
//
//	struct { opaque cid<V>; opaque gossip_secret<V>; uint32 generation;
//	         opaque table_hash<V>; } DMLSBase
type base struct {
	CID        cid.Cid // the commit that added the joiner
	Gossip     []byte  // 32 bytes
	Generation uint32
	TableHash  []byte // SHA-256 of the table that travels beside the tree
}

func (e base) marshal() []byte {
	var w buffer
	w.bytes(e.CID.Bytes())
	w.bytes(e.Gossip)
	w.u32(e.Generation)
	w.bytes(e.TableHash)
	return w.b
}

func parseBase(b []byte) (base, error) {
	r := cursor{b: b}
	id := r.bytes()
	e := base{Gossip: r.bytes(), Generation: r.u32(), TableHash: r.bytes()}
	if err := r.done(); err != nil {
		return base{}, fmt.Errorf("%w: base extension: %w", ErrMalformed, err)
	}
	c, err := cid.Cast(id)
	if err != nil || len(e.Gossip) != 32 || len(e.TableHash) != sha256.Size {
		return base{}, fmt.Errorf("%w: base extension", ErrMalformed)
	}
	e.CID = c
	return e, nil
}

// tableRow says where one member's chain of frames stands at the base: Next is
// the sequence number of its next frame, Prev what that frame will link to.
type tableRow struct {
	Member dag.Member
	Next   uint64
	Prev   cid.Cid
}

func marshalTable(rows []tableRow) []byte {
	var w buffer
	w.u32(uint32(len(rows)))
	for _, r := range rows {
		w.bytes([]byte(r.Member))
		w.u64(r.Next)
		w.bytes(r.Prev.Bytes())
	}
	return w.b
}

// marshalBase is what TableHash covers: the rows of the members at the base,
// then those of earlier incarnations of whom the base commit added, so that a
// device that comes back learns which of its frames had arrived.
func marshalBase(rows, gone []tableRow) []byte {
	return append(marshalTable(rows), marshalTable(gone)...)
}

// parseTable checks the hash that the GroupInfo signed, then the rows.
func parseTable(b, hash []byte) (rows, gone []tableRow, err error) {
	sum := sha256.Sum256(b)
	if subtle.ConstantTimeCompare(sum[:], hash) != 1 {
		return nil, nil, fmt.Errorf("%w: the table is not the one that the inviter signed", ErrBundle)
	}
	r := &cursor{b: b}
	if rows, err = readRows(r); err != nil {
		return nil, nil, err
	}
	for i := range max(len(rows)-1, 0) {
		if leafOf(rows[i].Member) >= leafOf(rows[i+1].Member) {
			return nil, nil, fmt.Errorf("%w: table out of order", ErrBundle)
		}
	}
	if gone, err = readRows(r); err != nil {
		return nil, nil, err
	}
	if err := r.done(); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	return rows, gone, nil
}

func readRows(r *cursor) ([]tableRow, error) {
	var rows []tableRow
	for n := r.u32(); n > 0 && r.err == nil; n-- {
		m, err := parseIncarnation(r.bytes())
		if err != nil {
			return nil, err
		}
		row := tableRow{Member: m, Next: r.u64()}
		if row.Prev, err = cid.Cast(r.bytes()); err != nil {
			return nil, fmt.Errorf("%w: table: %w", ErrBundle, err)
		}
		rows = append(rows, row)
	}
	if r.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, r.err)
	}
	return rows, nil
}

// bundle is what a joiner is handed: the MLS Welcome, the ratchet tree, the
// table.
type bundle struct{ Welcome, Tree, Table []byte }

func (b bundle) marshal() []byte {
	var w buffer
	w.u8(1)
	w.bytes(b.Welcome)
	w.bytes(b.Tree)
	w.bytes(b.Table)
	return w.b
}

func parseBundle(p []byte) (bundle, error) {
	r := cursor{b: p}
	version := r.u8()
	b := bundle{Welcome: r.bytes(), Tree: r.bytes(), Table: r.bytes()}
	if err := r.done(); err != nil || version != 1 {
		return bundle{}, fmt.Errorf("%w: version %d, %v", ErrBundle, version, err)
	}
	return b, nil
}
