package api

import (
	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/dagview"
)

// Identity is who the device is: to groups by its signature key, to the
// network by its peer id.
type Identity struct {
	ID    string   `json:"id"` // Ed25519 public key, hex
	Name  string   `json:"name"`
	Peer  string   `json:"peer"` // libp2p peer id
	Addrs []string `json:"addrs"`
}

// Version names a build.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

// Status is the daemon at a glance.
type Status struct {
	Identity
	Version string  `json:"version"`
	PID     int     `json:"pid"`
	Uptime  float64 `json:"uptime_seconds"`
	Peers   int     `json:"peers"` // connected
	Blocked int     `json:"blocked,omitempty"`
	Groups  []Group `json:"groups"`
}

// Peer is a device on the network, connected or cut off by "debug block".
type Peer struct {
	Peer      string   `json:"peer"`
	Addrs     []string `json:"addrs,omitempty"`
	Direction string   `json:"direction,omitempty"` // "inbound" or "outbound"
	Groups    []string `json:"groups,omitempty"`    // ids of the groups that it shares with this device
	Blocked   bool     `json:"blocked,omitempty"`
}

// Member is a leaf of the ratchet tree at the head.
type Member struct {
	Leaf   uint32 `json:"leaf"`
	ID     string `json:"id"` // identity, hex
	Name   string `json:"name"`
	Self   bool   `json:"self,omitempty"`
	Admin  bool   `json:"admin,omitempty"`
	Stands string `json:"stands,omitempty"` // CID of the epoch in which it was last heard
}

// Group is the state of one group on this device.
type Group struct {
	Group           string   `json:"group"` // id, hex
	Name            string   `json:"name"`
	Policy          string   `json:"policy"`            // "admins" or "open"
	Head            string   `json:"head"`              // CID of the commit that created the current epoch
	Epoch           uint64   `json:"epoch"`             // its integer epoch
	State           string   `json:"state"`             // "member", "leaving", "left", "removed" or "stranded"
	Members         []Member `json:"members,omitempty"` // by leaf; left out of lists of groups
	MemberCount     int      `json:"member_count"`
	ForksOpen       int      `json:"forks_open"`
	RetainedEpochs  int      `json:"retained_epochs"`
	Final           string   `json:"final"` // CID of the deepest final epoch
	SecretsRetained int      `json:"secrets_retained"`
	SecretBytes     int      `json:"secret_bytes"`
	OldestRetained  int64    `json:"oldest_retained,omitempty"` // Unix milliseconds
	Parked          int      `json:"parked"`                    // frames that wait for others
	Blocks          int      `json:"blocks"`                    // sealed blocks held
	Cursor          uint64   `json:"cursor"`                    // cursor of the newest event
	Authenticator   string   `json:"authenticator"`

	Kept []group.Kept `json:"-"` // see Keys
}

// LogEntry is one frame in the canonical order, equal on all members that
// have opened the same frames.
type LogEntry struct {
	CID     string   `json:"cid"`
	Kind    string   `json:"kind"` // "message", "ack", "leave", "commit", "proof" or "complaint"
	From    string   `json:"from"` // identity, hex
	Name    string   `json:"name"`
	Epoch   uint64   `json:"epoch"`  // that it was sent in
	Parent  string   `json:"parent"` // CID of the commit that created that epoch
	Seq     uint64   `json:"seq"`    // of its sender
	Actions []string `json:"actions,omitempty"`
	About   string   `json:"about,omitempty"` // CID of the commit that a complaint is about, identity of whom a proof is against
	Text    string   `json:"text,omitempty"`
}

// DAG is a group's commit graph.
type DAG = dagview.Graph

// Sent acknowledges a message: it is durable on this device and on its way.
type Sent struct {
	ID    string `json:"id"` // message id, hex
	Group string `json:"group"`
}

// Ticket is an invitation: one line of text.
type Ticket struct {
	Ticket string `json:"ticket"`
}

// Done answers a request that changed a group.
type Done struct {
	Group string `json:"group"`
	Name  string `json:"name,omitempty"`
}

// Requests.
type (
	createRequest struct {
		Name   string `json:"name"`
		Policy string `json:"policy,omitempty"` // "admins", also if empty, or "open"
	}
	sendRequest struct {
		Text string `json:"text"`
	}
	compactRequest struct {
		Through   uint64  `json:"through,omitempty"`            // cursor
		OlderThan float64 `json:"older_than_seconds,omitempty"` // what fits both is removed
	}
	joinRequest struct {
		Ticket string `json:"ticket"`
	}
	memberRequest struct {
		Member string `json:"member"`
	}
	peerRequest struct {
		Peer string `json:"peer"`
	}
)

// maxRequest bounds a request's body in bytes. A text may have 64 KiB and JSON
// writes one byte as up to six.
const maxRequest = 512 << 10
