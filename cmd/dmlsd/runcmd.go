package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/internal/dagview"
	"github.com/dmlsd/dmls/node"
)

// drainTime bounds how long a daemon takes to stop after SIGTERM. The last fifth
// is left to a machine under load.
const drainTime = 5 * time.Second

func (a *app) initCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "init", Short: "Create this device's home and keys", Args: cobra.NoArgs}
	name := cmd.Flags().String("name", "", "name that others will see (required)")
	to := sealFlags(cmd, "")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		home, err := a.homeDir()
		if err != nil {
			return err
		}
		if *name == "" {
			return &api.Error{What: "no name", Why: "a device needs a name that others will see", Fix: "give one: dmlsd init --name NAME", Code: api.Usage}
		}
		if api.Initialised(home) {
			return &api.Error{What: "cannot create " + home, Why: "it holds an identity already", Fix: "use it with dmlsd run, or name another home with --home", Code: api.Conflict}
		}
		if err := node.CheckName(*name); err != nil {
			return api.Explain("cannot create "+home, err)
		}
		if err := private(home); err != nil {
			return api.Explain("cannot create "+home, err)
		}
		with, err := to.sealing()
		if err != nil {
			return err
		}
		d, err := a.open(cmd.Context(), deviceConfig{home: home, name: *name, offline: true, sealing: with, log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return api.Explain("cannot create "+home, err, causes...)
		}
		id := d.Identity()
		if err := errors.Join(d.Close(), api.MarkInitialised(home, id)); err != nil {
			return api.Explain("cannot create "+home, err)
		}
		fmt.Fprintf(a.out, "created   %s\nidentity  %s  %s\npeer      %s\n", home, id.ID, dagview.Clean(id.Name), id.Peer)
		fmt.Fprintln(a.talk, "next      dmlsd run")
		return nil
	}
	return cmd
}

// private makes a directory that only its owner may enter.
func private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

func (a *app) runCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run", Short: "Run the daemon until it is told to stop", Args: cobra.NoArgs,
		Long: "Run the daemon in the foreground. It prints one line when it is ready, logs to\nstandard error, and stops within 5 seconds after SIGTERM or SIGINT.",
	}
	listen := cmd.Flags().StringArray("listen", nil, "multiaddr to listen on (repeatable; default: all interfaces, the ports of last time)")
	peers := cmd.Flags().StringArray("peer", nil, "multiaddr of a peer to stay connected to (repeatable)")
	noMDNS := cmd.Flags().Bool("no-mdns", false, "do not look for peers on the local network")
	relays := cmd.Flags().StringArray("relay", nil, "multiaddr of a relay that takes connections for this device (repeatable); it learns who talks to whom")
	relay := cmd.Flags().Bool("relay-service", false, "be a relay for everybody who can connect")
	punch := cmd.Flags().Bool("hole-punching", false, "try to turn relayed connections into direct ones")
	dht := cmd.Flags().Bool("dht", false, "find members whose address changed in a DHT of dmls hosts; it tells this device's address to who asks for its peer id")
	keepEvents := cmd.Flags().Int("keep-events", 10_000, "how many of a group's newest events about epochs, commits and forks its log keeps; -1: all")
	keepMessages := cmd.Flags().Duration("keep-messages", 0, "how long logs keep messages, such as 2160h; what is older is erased on this device (default: for ever)")
	metrics := cmd.Flags().String("metrics", "", "serve /metrics, /livez and /readyz on this address of loopback, such as 127.0.0.1:9464")
	u := unlockFlags(cmd)
	verbose := cmd.Flags().BoolP("verbose", "v", false, "log more")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		level := slog.LevelWarn
		if *verbose {
			level = slog.LevelDebug
		}
		home, err := a.homeDir()
		if err != nil {
			return err
		}
		if *keepEvents == 0 || *keepMessages < 0 || *keepMessages > 0 && *keepMessages < time.Minute {
			return &api.Error{What: "cannot start", Why: "a log keeps at least one event, and messages for at least a minute", Fix: "see: dmlsd run --help", Code: api.Usage}
		}
		return a.run(cmd.Context(), deviceConfig{
			keep: node.Keep{Events: *keepEvents, Messages: *keepMessages},
			home: home, listen: *listen, peers: *peers, noMDNS: *noMDNS, metrics: *metrics, sealing: u.opens(),
			relays: *relays, relay: *relay, punch: *punch, dht: *dht,
			log: slog.New(slog.NewTextHandler(a.talk, &slog.HandlerOptions{Level: level})),
		})
	}
	return cmd
}

func (a *app) run(ctx context.Context, c deviceConfig) error {
	if !api.Initialised(c.home) {
		return api.NotInitialised(c.home)
	}
	if api.Live(c.home) {
		return inUse(c.home)
	}
	if err := noCoreDumps(); err != nil {
		c.log.Warn("memory may reach the disk", "err", err)
	}
	monitor, err := listenMonitor(c.metrics)
	if err != nil {
		return err
	}
	defer monitor.Close()
	d, err := a.open(ctx, c)
	if err != nil {
		return api.Explain("cannot start", err, causes...)
	}
	l, err := api.Listen(c.home)
	if err != nil {
		_ = d.Close()
		if errors.Is(err, api.ErrLive) {
			return inUse(c.home)
		}
		return api.Explain("cannot open the socket", err)
	}
	server := api.NewServer(d, buildVersion(), causes...)
	served := make(chan error, 2)
	go func() { served <- server.Serve(l) }()
	monitor.serve(server.Monitor(), served)

	id := d.Identity()
	fmt.Fprintf(a.out, "ready  %s  %s  api unix:%s%s\n", id.Peer, strings.Join(id.Addrs, " "), l.Addr(), monitor)
	select {
	case <-ctx.Done():
	case err = <-served:
		c.log.Error("the daemon can no longer be asked", "err", err)
	case <-failed(d):
		err = &api.Error{
			What: "the daemon stops", Why: "a write to the disk failed, and it does not go on without durable keys",
			Fix: "see the log and the disk, then start it again; nothing that was acknowledged is lost", Code: api.Failed,
		}
	}
	return errors.Join(err, a.drain(server, d))
}

// drain stops in order: no new requests, streams end, queued work is done, the
// store closes.
func (a *app) drain(server *api.Server, d device) error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), drainTime/5)
		defer cancel()
		done <- errors.Join(server.Shutdown(ctx), d.Close())
	}()
	select {
	case err := <-done:
		if err != nil {
			return api.Explain("cannot stop cleanly", err)
		}
		fmt.Fprintln(a.talk, "stopped")
		return nil
	case <-time.After(drainTime * 4 / 5):
		// What was acknowledged is in the store, as after a crash.
		return &api.Error{What: "stopped in the middle", Why: fmt.Sprintf("work was left after %v", drainTime*4/5), Fix: "start it again: nothing that was acknowledged is lost", Code: api.Timeout}
	}
}

func inUse(home string) *api.Error {
	return &api.Error{What: "cannot start", Why: "another daemon runs on " + home, Fix: "use that one, stop it first, or name another home with --home", Code: api.Conflict}
}
