package mls

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dmlsd/dmls/pprf"
)

var update = flag.Bool("update", false, "write testdata/dmls anew")

// MarshalJSON writes hex, as the official vectors do.
func (h hexBytes) MarshalJSON() ([]byte, error) { return json.Marshal(hex.EncodeToString(h)) }

// dmlsVector is described in testdata/dmls/README.md.
type dmlsVector struct {
	CipherSuite CipherSuite     `json:"cipher_suite"`
	GroupID     hexBytes        `json:"group_id"`
	Root        dmlsEpoch       `json:"root"`
	Receiver    dmlsReceiver    `json:"receiver"`
	Parent      dmlsEpoch       `json:"parent"`
	Frames      []dmlsFrame     `json:"frames"`
	Children    []dmlsEpoch     `json:"children"`
	PPRF        []dmlsPPRFState `json:"pprf"`
}

type dmlsReceiver struct {
	LeafIndex      uint32   `json:"leaf_index"`
	KeyPackage     hexBytes `json:"key_package"`
	InitPriv       hexBytes `json:"init_priv"`
	EncryptionPriv hexBytes `json:"encryption_priv"`
	Welcome        hexBytes `json:"welcome"`
}

type dmlsEpoch struct {
	Commit             hexBytes    `json:"commit,omitempty"`
	PathSecret         hexBytes    `json:"path_secret,omitempty"`
	CommitSecret       hexBytes    `json:"commit_secret,omitempty"`
	CommitConfirmation hexBytes    `json:"commit_confirmation,omitempty"`
	Index              hexBytes    `json:"index,omitempty"`
	InitSecret         hexBytes    `json:"init_secret,omitempty"`
	JoinerSecret       hexBytes    `json:"joiner_secret,omitempty"`
	GroupContext       hexBytes    `json:"group_context"`
	LeafCount          uint32      `json:"leaf_count"`
	EpochSecret        hexBytes    `json:"epoch_secret"`
	ParentInitSecret   hexBytes    `json:"parent_init_secret"`
	DMLSEpoch          hexBytes    `json:"dmls_epoch"`
	Authenticator      hexBytes    `json:"epoch_authenticator"`
	ConfirmationTag    hexBytes    `json:"confirmation_tag"`
	Frames             []dmlsFrame `json:"frames,omitempty"`
}

type dmlsFrame struct {
	Sender            uint32   `json:"sender"`
	Generation        uint32   `json:"generation"`
	AuthenticatedData hexBytes `json:"authenticated_data"`
	Data              hexBytes `json:"data"`
	Message           hexBytes `json:"message"`
}

type dmlsPPRFState struct {
	Punctured []hexBytes `json:"punctured"`
	Nodes     int        `json:"nodes"`
	Hash      hexBytes   `json:"hash"`
}

// packageState is the state of the package's PPRF in the form of the vectors.
func packageState(e *Epoch) (int, []byte) {
	var nodes []pprf.Node
	for _, i := range e.pprf.Deltas() {
		nodes = append(nodes, e.pprf.Delta(i)...)
	}
	slices.SortFunc(nodes, func(a, b pprf.Node) int { return bytes.Compare(a.ID.Prefix[:], b.ID.Prefix[:]) })
	h := e.suite.alg.new()
	for _, n := range nodes {
		h.Write(binary.BigEndian.AppendUint16(nil, n.ID.Depth))
		h.Write(n.ID.Prefix[:(int(n.ID.Depth)+7)/8])
		h.Write(n.Secret)
	}
	return len(nodes), h.Sum(nil)
}

// generateDMLS runs a group through a fork and writes down what happened. The
// secrets come from the slow path, and must lead to the package's epochs.
func generateDMLS(t *testing.T, id CipherSuite) *dmlsVector {
	t.Helper()
	sl := slowSuite(id)
	rand := testRand(uint64(200 + id))
	a := newDeviceOf(t, id, 0, rand)
	s, own := mustSuite(t, id), a.keyPackage()
	tree, err := newTree(s, &own.KeyPackage.LeafNode)
	if err != nil {
		t.Fatal(err)
	}
	v := &dmlsVector{CipherSuite: id, GroupID: []byte("dmls vectors")}
	v.Root = dmlsEpoch{EpochSecret: bytes.Repeat([]byte{byte(id)}, s.nh), LeafCount: 1}
	e := epochSeed{suite: s, schedule: DMLS, tree: tree, privs: map[uint32][]byte{0: own.leafPriv}, context: GroupContext{
		Version: mls10, CipherSuite: id, GroupID: v.GroupID, TreeHash: tree.TreeHash()}}.grow(bytes.Clone(v.Root.EpochSecret))
	e.setTag(s.confirmationTag(e.secrets.confirmation, nil))
	v.Root.GroupContext = e.encoded
	sl.fill(&v.Root, nil)
	a.e = a.keep(e)
	sameEpoch(t, a.e, &v.Root)

	// Three members join; the second is the receiver.
	members := []*device{a}
	var bundles []*KeyPackageBundle
	var r CommitRequest
	for i := 1; i < 4; i++ {
		d := newDeviceOf(t, id, i, rand)
		members, bundles = append(members, d), append(bundles, d.keyPackage())
		r.Proposals = append(r.Proposals, &Add{KeyPackage: *bundles[i-1].KeyPackage})
	}
	c, child := a.commit(a.e, r)
	v.Parent = *v.record(t, sl, &v.Root, c)
	a.e = child
	welcome, err := c.Welcome(nil, true, a.signer, a.env)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range members[1:] {
		d.join(welcome, nil, bundles[i], DMLS)
	}
	b := bundles[1]
	v.Receiver = dmlsReceiver{LeafIndex: 2, InitPriv: b.initPriv, EncryptionPriv: b.leafPriv, Welcome: welcome,
		KeyPackage: (&MLSMessage{WireFormat: WireFormatKeyPackage, KeyPackage: b.KeyPackage}).Marshal()}
	for i, d := range []*device{members[0], members[1], members[1], members[3]} {
		v.Frames = append(v.Frames, speak(t, d, i))
	}
	// Two members commit at once: a fork. Each adds somebody, the second also
	// removes a member.
	for i, d := range members[:2] {
		r := CommitRequest{AuthenticatedData: fmt.Appendf(nil, "fork %d", i),
			Proposals: []Proposal{&Add{KeyPackage: *newDeviceOf(t, id, 10+i, rand).keyPackage().KeyPackage}}}
		if i == 1 {
			r.Proposals = append(r.Proposals, &Remove{Removed: 3})
		}
		c, child := d.commit(d.e, r)
		x := v.record(t, sl, &v.Parent, c)
		d.e = child
		for j := range 2 {
			x.Frames = append(x.Frames, speak(t, d, 10*(i+1)+j))
		}
		v.Children = append(v.Children, *x)
	}
	var punctured []hexBytes
	for i := range 3 {
		n, digest := sl.state(v.Parent.ParentInitSecret, punctured)
		v.PPRF = append(v.PPRF, dmlsPPRFState{Punctured: slices.Clone(punctured), Nodes: n, Hash: digest})
		if i < 2 {
			punctured = append(punctured, v.Children[i].Index)
		}
	}
	return v
}

func mustSuite(t *testing.T, id CipherSuite) *suite {
	t.Helper()
	s, err := suiteByID(id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// record writes a staged commit down.
func (v *dmlsVector) record(t *testing.T, sl slow, parent *dmlsEpoch, c *StagedCommit) *dmlsEpoch {
	t.Helper()
	x := sl.child(parent, bytes.Clone(c.path.lastSecret()), c.Child.encoded, c.Child.ConfirmedTranscriptHash(), c.Child.Tree().LeafCount())
	x.Commit = c.Message
	sameEpoch(t, c.Child, x)
	return x
}

// sameEpoch compares an epoch of the package with one of the slow path.
func sameEpoch(t *testing.T, e *Epoch, x *dmlsEpoch) {
	t.Helper()
	equal(t, "dmls_epoch", e.ID(), x.DMLSEpoch)
	equal(t, "epoch_authenticator", e.EpochAuthenticator(), x.Authenticator)
	equal(t, "confirmation_tag", e.ConfirmationTag(), x.ConfirmationTag)
	equal(t, "group_context", e.encoded, x.GroupContext)
}

func speak(t *testing.T, d *device, i int) dmlsFrame {
	t.Helper()
	f := dmlsFrame{Sender: uint32(d.e.Self()), Generation: d.e.NextGeneration(ContentTypeApplication),
		AuthenticatedData: fmt.Appendf(nil, "aad %d", i), Data: bytes.Repeat([]byte{byte('a' + i)}, 10*i)}
	msg, delta, err := d.e.Protect(f.Data, f.AuthenticatedData, d.signer, d.env)
	if err != nil {
		t.Fatal(err)
	}
	d.e = d.apply(d.e, delta)
	f.Message = msg
	return f
}

// check verifies a vector from its file alone: by the slow path, then by the
// package as the receiver.
func (v *dmlsVector) check(t *testing.T) (frames int) {
	sl := slowSuite(v.CipherSuite)
	root := dmlsEpoch{EpochSecret: v.Root.EpochSecret}
	sl.fill(&root, nil)
	equal(t, "root", root.DMLSEpoch, v.Root.DMLSEpoch)
	verify := func(parent, x *dmlsEpoch) {
		c, err := ParseGroupContext(x.GroupContext)
		if err != nil {
			t.Fatal(err)
		}
		y := sl.child(parent, x.PathSecret, x.GroupContext, c.ConfirmedTranscriptHash, x.LeafCount)
		y.Commit, y.Frames = x.Commit, x.Frames
		a, errA := json.Marshal(x)
		b, errB := json.Marshal(y)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("slow path: %s, vector: %s", b, a)
		}
		frames++
		sl.open(t, parent, x.Commit)
	}
	verify(&v.Root, &v.Parent)
	for i := range v.Children {
		verify(&v.Parent, &v.Children[i])
	}
	for _, p := range v.PPRF {
		n, digest := sl.state(v.Parent.ParentInitSecret, p.Punctured)
		if n != p.Nodes {
			t.Errorf("%d nodes, want %d", n, p.Nodes)
		}
		equal(t, "state of the PPRF", digest, p.Hash)
	}
	m, err := ParseMLSMessage(v.Receiver.KeyPackage)
	if err != nil {
		t.Fatal(err)
	}
	d := newDeviceOf(t, v.CipherSuite, 0, testRand(1))
	kp := &KeyPackageBundle{KeyPackage: m.KeyPackage, initPriv: v.Receiver.InitPriv, leafPriv: v.Receiver.EncryptionPriv}
	e, _, err := Join(v.Receiver.Welcome, nil, kp, JoinOptions{KeySchedule: DMLS}, d.env)
	if err != nil {
		t.Fatal(err)
	}
	d.e = d.keep(e)
	sameEpoch(t, d.e, &v.Parent)
	hear := func(e *Epoch, x *dmlsEpoch, f dmlsFrame) *Epoch {
		out, back, _ := d.open(e, f.Message)
		leaf, generation, guard, content := sl.open(t, x, f.Message)
		if uint32(out.Sender) != f.Sender || out.Generation != f.Generation || leaf != f.Sender || generation != f.Generation {
			t.Errorf("sender %d, generation %d", out.Sender, out.Generation)
		}
		equal(t, "data", out.Data, f.Data)
		equal(t, "authenticated_data", out.AuthenticatedData, f.AuthenticatedData)
		sl.canonical(t, x, f, guard, content)
		frames++
		return back
	}
	for _, f := range v.Frames {
		d.e = hear(d.e, &v.Parent, f)
	}
	for i := range v.PPRF {
		n, digest := packageState(d.e)
		if n != v.PPRF[i].Nodes {
			t.Errorf("the package holds %d nodes, want %d", n, v.PPRF[i].Nodes)
		}
		equal(t, "the package's PPRF", digest, v.PPRF[i].Hash)
		if i == len(v.Children) {
			break
		}
		x := &v.Children[i]
		_, back, child := d.open(d.e, x.Commit)
		d.e = back
		sameEpoch(t, child, x)
		for _, f := range x.Frames {
			child = hear(child, x, f)
		}
	}
	return frames
}

// TestDMLSVectors verifies testdata/dmls, and that the generator still writes
// it. -update writes it anew.
func TestDMLSVectors(t *testing.T) {
	for _, id := range []CipherSuite{1, 2, 3, 5, 7} {
		t.Run(id.String(), func(t *testing.T) {
			name := filepath.Join("testdata", "dmls", fmt.Sprintf("suite-%d.json", id))
			fresh, err := json.MarshalIndent(generateDMLS(t, id), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			fresh = append(fresh, '\n')
			if *update {
				if err := os.WriteFile(name, fresh, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b, fresh) {
				t.Error("the generator gives another file")
			}
			var v dmlsVector
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %d frames, %d children, %d states of the PPRF", name, v.check(t), len(v.Children), len(v.PPRF))
		})
	}
}
