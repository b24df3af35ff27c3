package group

import (
	"errors"
	"fmt"
	"time"

	"github.com/dmlsd/dmls/dag"
)

// Config holds every limit and delay of the engine (design, section 6). Start
// from a preset and change what you must.
type Config struct {
	// Rule picks the branch to follow at a fork; nil is dag.Support. All members
	// of a group must have the same, and finality is proved for dag.Support
	// alone: the others are there to be compared with it.
	Rule dag.Rule
	// MaxEpochs bounds how many epochs keep their secrets while somebody stays
	// silent, and as many of branches that a device reads and is not on; the oldest
	// goes first. At 1 the head alone is kept, as in plain MLS, and a fork splits the
	// group for good: for comparison.
	MaxEpochs int
	// MaxAge bounds how long an epoch that is not the head keeps its secrets,
	// and how long a removed device keeps the group.
	MaxAge time.Duration
	// MaxParked bounds the bytes of frames that wait for a parent or a
	// predecessor; MaxParkedPeer the frames that one peer may have waiting.
	// Where the bytes are used up, the peer with the most gives way.
	MaxParked     int
	MaxParkedPeer int
	// CommitBurst and the number of members are how many commits of one author
	// are opened at once, then one in CommitEvery.
	CommitBurst int
	CommitEvery time.Duration
	// BlockAge and MaxBlocks bound how long, and how many bytes of, sealed blocks
	// are kept for others when their epochs are gone here.
	BlockAge  time.Duration
	MaxBlocks int
	// MaxText bounds the body of one message in bytes.
	MaxText int
	// MergeDelay is the step of the ranked back-off: the member of rank r waits
	// r of these before it does shared work.
	MergeDelay time.Duration
	// ReaddDelay is how long an open fork holds back the adds of its losing
	// side: before the fork is final the choice may flip.
	ReaddDelay time.Duration
	// AckMin and AckMax bound the random delay of an empty confirming frame.
	AckMin, AckMax time.Duration
	// AckRate is how many such frames a second a group should see; it stretches
	// AckMax for large groups.
	AckRate int
	// DeliverWait is how long a message waits for those that it follows.
	DeliverWait time.Duration
	// NoticeEvery is the pause before a stranded joiner is told again.
	NoticeEvery time.Duration
	// RejectCache is how many refused blocks are remembered.
	RejectCache int
}

// rivalDelay is how long a joiner that followed one of two rival re-adds is
// left there before it is told that the other won. By then all have been heard;
// and if the choice flips after all, it still has both Welcomes.
func (c Config) rivalDelay() time.Duration { return min(c.ReaddDelay, 2*c.AckMax+2*c.NoticeEvery) }

// LAN suits members on one network.
func LAN() Config {
	return Config{
		MaxEpochs: 1024, MaxAge: 7 * 24 * time.Hour,
		MaxParked: 64 << 20, MaxParkedPeer: 1024, CommitBurst: 16, CommitEvery: 10 * time.Second,
		BlockAge: 30 * 24 * time.Hour, MaxBlocks: 1 << 30, MaxText: 64 << 10,
		MergeDelay: 250 * time.Millisecond, ReaddDelay: time.Minute,
		AckMin: 200 * time.Millisecond, AckMax: 2 * time.Second, AckRate: 5,
		DeliverWait: 3 * time.Second, NoticeEvery: 2 * time.Second, RejectCache: 4096,
	}
}

// Internet suits members far apart, behind relays.
func Internet() Config {
	c := LAN()
	c.MergeDelay = 2 * time.Second
	c.AckMin, c.AckMax = 5*time.Second, 30*time.Second
	c.DeliverWait, c.NoticeEvery = 15*time.Second, 20*time.Second
	return c
}

// Sim suits the simulator: the delays of a LAN, a short ReaddDelay, so that a
// run of a virtual minute sees joiners return, and a long DeliverWait, so that
// only what never comes breaks the order of delivery.
func Sim() Config {
	c := LAN()
	c.ReaddDelay, c.DeliverWait = 5*time.Second, 30*time.Second
	return c
}

// ErrConfig is wrapped by every complaint of Validate.
var ErrConfig = errors.New("group: bad configuration")

// Validate names the first field that makes no sense.
func (c Config) Validate() error {
	switch {
	case c.MaxEpochs < 1:
		return fmt.Errorf("%w: MaxEpochs %d, want 1 or more", ErrConfig, c.MaxEpochs)
	case c.MaxAge <= 0:
		return fmt.Errorf("%w: MaxAge %v, want a positive time", ErrConfig, c.MaxAge)
	case c.MaxParked < 1<<16 || c.MaxParkedPeer < 1:
		return fmt.Errorf("%w: MaxParked %d bytes, MaxParkedPeer %d frames", ErrConfig, c.MaxParked, c.MaxParkedPeer)
	case c.CommitBurst < 1 || c.CommitEvery <= 0:
		return fmt.Errorf("%w: %d commits of one author at once, then one in %v", ErrConfig, c.CommitBurst, c.CommitEvery)
	case c.BlockAge < c.MaxAge || c.MaxBlocks < 1<<16:
		return fmt.Errorf("%w: blocks are kept %v and %d bytes, want MaxAge or longer and 64 KiB or more", ErrConfig, c.BlockAge, c.MaxBlocks)
	case c.MaxText < 1 || c.MaxText > 8<<20:
		return fmt.Errorf("%w: MaxText %d, want 1 byte to 8 MiB", ErrConfig, c.MaxText)
	case c.MergeDelay <= 0 || c.ReaddDelay < 0 || c.DeliverWait <= 0 || c.NoticeEvery <= 0:
		return fmt.Errorf("%w: MergeDelay, DeliverWait and NoticeEvery must be positive", ErrConfig)
	case c.AckMin < 0 || c.AckMax < c.AckMin || c.AckRate < 1:
		return fmt.Errorf("%w: ack delay from %v to %v at %d a second", ErrConfig, c.AckMin, c.AckMax, c.AckRate)
	case c.RejectCache < 1:
		return fmt.Errorf("%w: RejectCache %d, want 1 or more", ErrConfig, c.RejectCache)
	}
	return nil
}
