// Pure uses the engine alone: no network, no disk, no goroutine. The transport
// is a slice, the store is none. What a real program must do with an Output is
// what carry does, in the same order.
package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
)

// transport holds the blocks on their way.
type transport struct {
	out    io.Writer
	blocks [][]byte
}

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func env() group.Env { return group.Env{Now: time.Now(), Rand: rand.Reader} }

func identity(name string) (group.Identity, error) {
	seed := make([]byte, 32)
	if _, err := rand.Read(seed); err != nil {
		return group.Identity{}, err
	}
	signer, err := mls.NewEd25519Signer(seed)
	return group.Identity{Name: name, Signer: signer}, err
}

func run(out io.Writer) error {
	net := &transport{out: out}
	aliceID, err := identity("alice")
	if err != nil {
		return err
	}
	bobID, err := identity("bob")
	if err != nil {
		return err
	}
	alice, o, err := group.Create(env(), group.LAN(), aliceID, "picnic", group.PolicyAdmins)
	if err != nil {
		return err
	}
	net.carry("alice", o)

	// Bob hands Alice a KeyPackage; she adds him and hands back the Welcome.
	kp, err := group.NewKeyPackage(env(), bobID)
	if err != nil {
		return err
	}
	o, err = alice.Step(env(), group.Change{Add: [][]byte{kp.KeyPackage.Marshal()}})
	if err != nil {
		return err
	}
	net.carry("alice", o)
	net.blocks = nil // the commit that added Bob is none of his business
	bob, joined, err := group.Join(env(), group.LAN(), bobID, o.Welcomes[0].Bundle, kp, nil)
	if err != nil {
		return err
	}
	net.carry("bob", joined)

	if o, err = alice.Step(env(), group.Send{Text: []byte("who brings the bread?")}); err != nil {
		return err
	}
	net.carry("alice", o)
	if o, err = bob.Step(env(), group.Receive{Blocks: net.blocks, From: "alice"}); err != nil {
		return err
	}
	net.carry("bob", o)
	fmt.Fprintln(out, "same epoch:", alice.Status().Authenticator == bob.Status().Authenticator)
	return nil
}

// carry does what an Output asks for: first make Batch durable (not here),
// then let blocks leave, then tell the application.
func (t *transport) carry(who string, o group.Output) {
	for _, b := range o.Publish {
		t.blocks = append(t.blocks, b.Data)
	}
	for _, e := range o.Events {
		fmt.Fprintf(t.out, "%-5s  %-15s  %s\n", who, e.Kind, e.Text)
	}
}
