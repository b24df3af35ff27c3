package node

import (
	"fmt"
	"io"
	"iter"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
)

// engine is *group.Group as a Driver uses it.
type engine interface {
	ID() string
	Name() string
	Topic() string
	PeerKey() frame.PeerKey
	Step(group.Env, group.Input) (group.Output, error)
	State() string
	Standing() group.Standing
	Status() group.Status
	View() group.View
	Log() []group.LogEntry
	Records() []group.Op
	Held() group.Held
	Lasting() []string
	Tips() []cid.Cid
	Has(cid.Cid) bool
	Landmarks() []cid.Cid
	Missing(tips, lacking []cid.Cid, limit int) []cid.Cid
	Wants() []cid.Cid
	Unsent() []cid.Cid
}

var _ engine = (*group.Group)(nil)

// keyPackage is what a joiner keeps and what it hands to the inviter.
type keyPackage struct {
	ref    []byte // KeyPackageRef, RFC 9420 section 5.2
	public []byte // KeyPackage
	secret []byte // KeyPackage with its private keys, for the record
}

func (keyPackage) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "node.keyPackage(redacted)") }

// engines makes engines; tests hand in their own.
type engines struct {
	create     func(env group.Env, name string, p group.Policy) (engine, group.Output, error)
	join       func(env group.Env, bundle, secret []byte, erase []group.Op, past func(gid string) ([]group.Event, error)) (engine, group.Output, error)
	load       func(gid string, records iter.Seq2[group.Op, error]) (engine, error)
	keyPackage func(env group.Env) (keyPackage, error)
	ref        func(public []byte) ([]byte, error)
}

func groupEngines(c group.Config, id group.Identity) engines {
	return engines{
		create: func(env group.Env, name string, p group.Policy) (engine, group.Output, error) {
			g, out, err := group.Create(env, c, id, name, p)
			if err != nil {
				return nil, out, err
			}
			return g, out, nil
		},
		join: func(env group.Env, bundle, secret []byte, erase []group.Op, past func(gid string) ([]group.Event, error)) (engine, group.Output, error) {
			kp, err := mls.ParseKeyPackageBundle(secret)
			if err != nil {
				return nil, group.Output{}, err
			}
			defer kp.Wipe()
			g, out, err := group.JoinAgain(env, c, id, bundle, kp, erase, past)
			if err != nil {
				return nil, out, err
			}
			return g, out, nil
		},
		load: func(gid string, records iter.Seq2[group.Op, error]) (engine, error) {
			g, err := group.Load(c, id, gid, records)
			if err != nil {
				return nil, err
			}
			return g, nil
		},
		keyPackage: func(env group.Env) (keyPackage, error) {
			b, err := group.NewKeyPackage(env, id)
			if err != nil {
				return keyPackage{}, err
			}
			defer b.Wipe()
			secret, err := b.MarshalBinary()
			if err != nil {
				return keyPackage{}, err
			}
			return keyPackage{ref: b.KeyPackage.Ref(), public: b.KeyPackage.Marshal(), secret: secret}, nil
		},
		ref: func(public []byte) ([]byte, error) {
			kp, err := mls.ParseKeyPackage(public)
			if err != nil {
				return nil, err
			}
			return kp.Ref(), nil
		},
	}
}
