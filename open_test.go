package dmls

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/node"
	"github.com/dmlsd/dmls/store"
)

var loopback = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}

func open(t *testing.T, home, name string) *node.Node {
	t.Helper()
	n, err := Open(context.Background(), Config{Home: home, Name: name, Listen: loopback, NoMDNS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNode(t, n) })
	return n
}

func closeNode(t *testing.T, n *node.Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

// until reads the log until a message with the text is there.
func until(t *testing.T, n *node.Node, gid, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for e, err := range n.Events(ctx, gid, 0, true) {
		if err != nil {
			t.Fatalf("%s never read %q: %v", n.Name(), text, err)
		}
		if e.Kind == group.KindMessage && e.Text == text {
			return
		}
	}
}

// Two devices on real stores and real sockets: join, talk, part, restart, and
// catch up.
func TestTwoDevices(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	homes := t.TempDir()
	t.Run("devices", func(t *testing.T) {
		alice, bob := open(t, filepath.Join(homes, "a"), "alice"), open(t, filepath.Join(homes, "b"), "bob")
		gid, err := alice.CreateGroup(ctx, "ops")
		if err != nil {
			t.Fatal(err)
		}
		ticket, err := alice.Invite(ctx, gid)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := bob.Join(ctx, ticket); err != nil || got != gid {
			t.Fatalf("join: %q, %v", got, err)
		}
		for i := range 20 {
			from, to := alice, bob
			if i%2 == 1 {
				from, to = bob, alice
			}
			text := fmt.Sprint("hello ", i)
			if _, err := from.Send(ctx, gid, text); err != nil {
				t.Fatal(err)
			}
			until(t, to, gid, text)
		}

		if err := bob.Block(alice.PeerID()); err != nil {
			t.Fatal(err)
		}
		if _, err := alice.Send(ctx, gid, "while apart"); err != nil {
			t.Fatal(err)
		}
		ids, addrs := bob.ID(), bob.PeerID()
		closeNode(t, bob)
		bob = open(t, filepath.Join(homes, "b"), "") // the name is stored
		if bob.ID() != ids || bob.PeerID() != addrs || bob.Name() != "bob" {
			t.Error("the identity did not survive the restart")
		}
		if err := bob.Unblock(alice.PeerID()); err != nil { // a block survives, too
			t.Fatal(err)
		}
		until(t, bob, gid, "while apart") // alice's address is remembered
		if _, err := bob.Send(ctx, gid, "back"); err != nil {
			t.Fatal(err)
		}
		until(t, alice, gid, "back")

		a, err := alice.Status(gid)
		if err != nil {
			t.Fatal(err)
		}
		b, err := bob.Status(gid)
		if err != nil {
			t.Fatal(err)
		}
		if a.Head != b.Head || a.Authenticator != b.Authenticator || len(b.Members) != 2 {
			t.Errorf("heads differ: %+v and %+v", a, b)
		}
	})
}

func TestHome(t *testing.T) {
	home := filepath.Join(t.TempDir(), "deep", "home")
	n := open(t, home, "alice")
	if i, err := os.Stat(home); err != nil || i.Mode().Perm() != 0o700 {
		t.Errorf("home: %v, %v", i, err)
	}
	if _, err := Open(context.Background(), Config{Home: home, Offline: true}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a second device on one home: %v", err)
	}
	closeNode(t, n)
	again := open(t, home, "")
	if again.ID() != n.ID() {
		t.Error("another identity after a restart")
	}
	if _, err := Open(context.Background(), Config{}); !errors.Is(err, ErrHome) {
		t.Errorf("no home: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "new")
	if _, err := Open(context.Background(), Config{Home: empty, Offline: true}); !errors.Is(err, node.ErrNoIdentity) {
		t.Errorf("no name: %v", err)
	}
	carol, err := Open(context.Background(), Config{Home: empty, Name: "carol", Offline: true})
	if err != nil {
		t.Fatalf("after a failed Open: %v", err)
	}
	closeNode(t, carol)
}
