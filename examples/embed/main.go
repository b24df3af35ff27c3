// Embed puts two devices into one process: each has its home, its store and
// its libp2p host on loopback. One founds a group and makes a ticket, the other
// joins with it, and they talk.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/dmlsd/dmls"
	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/node"
)

func main() {
	home, err := os.MkdirTemp("", "dmls-embed")
	if err == nil {
		defer os.RemoveAll(home)
		err = run(home, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(home string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	alice, err := open(ctx, home, "alice")
	if err != nil {
		return err
	}
	defer alice.Close()
	bob, err := open(ctx, home, "bob")
	if err != nil {
		return err
	}
	defer bob.Close()

	gid, err := alice.CreateGroup(ctx, "picnic")
	if err != nil {
		return err
	}
	ticket, err := alice.Invite(ctx, gid) // a line of text: send it any way you like
	if err != nil {
		return err
	}
	if _, err := bob.Join(ctx, ticket); err != nil {
		return err
	}
	fmt.Fprintln(out, "bob joined", gid)

	if _, err := alice.Send(ctx, gid, "who brings the bread?"); err != nil {
		return err
	}
	if err := waitFor(ctx, out, bob, gid, 1); err != nil {
		return err
	}
	if _, err := bob.Send(ctx, gid, "I do."); err != nil {
		return err
	}
	return waitFor(ctx, out, alice, gid, 2)
}

func open(ctx context.Context, home, name string) (*node.Node, error) {
	return dmls.Open(ctx, dmls.Config{
		Home: filepath.Join(home, name), Name: name, NoMDNS: true,
		Listen: []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"},
	})
}

// waitFor prints what a device has in its log until it has seen n messages. A
// real program keeps the last cursor and goes on from there.
func waitFor(ctx context.Context, out io.Writer, n *node.Node, gid string, messages int) error {
	for e, err := range n.Events(ctx, gid, 0, true) {
		switch {
		case err != nil:
			return err
		case e.Kind == group.KindMessage:
			fmt.Fprintf(out, "%s reads: %s: %s\n", n.Name(), e.Name, e.Text)
			if messages--; messages == 0 {
				return nil
			}
		}
	}
	return nil
}
