package node

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
)

// Ticket permits one device to ask to be added to a group. Its text is one
// line:
//
//	"dmls1" || base32(body || first 4 bytes of SHA-256("dmls ticket 1" || body))
//
// in lower case without padding (RFC 4648 section 6), where
//
//	struct {
//	  uint64 expires;        // Unix seconds
//	  opaque hint[8];        // of the group, to tell tickets apart
//	  opaque secret[16];
//	  opaque addresses<V>;   // a list: count and strings
//	} body;
//
// Whoever holds the line may use it; nothing in it opens any message.
type Ticket struct {
	Expires time.Time // whole seconds
	Hint    [8]byte
	Secret  [16]byte
	Addrs   []string // multiaddrs of the inviter, each with its peer id
}

const (
	ticketPrefix   = "dmls1"
	ticketFamily   = "dmls"
	ticketChecksum = 4
	maxTicketText  = 8192
	maxTicketAddrs = 16
	maxAddr        = 256
)

var ticketEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ID names the ticket without giving away its secret, 32 hex digits.
func (t Ticket) ID() string {
	sum := sha256.Sum256(append([]byte("dmls ticket id 1"), t.Secret[:]...))
	return hex.EncodeToString(sum[:16])
}

// Format prints the id: the line is a secret, see [Ticket.Line].
func (t Ticket) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "node.Ticket("+t.ID()+")")
}

// Line returns the text, which is a secret.
func (t Ticket) Line() string {
	var w writer
	w.u64(uint64(t.Expires.Unix()))
	w.raw(t.Hint[:])
	w.raw(t.Secret[:])
	addrs := make([][]byte, len(t.Addrs))
	for i, a := range t.Addrs {
		addrs[i] = []byte(a)
	}
	w.list(addrs)
	sum := ticketSum(w.b)
	return ticketPrefix + ticketEncoding.EncodeToString(append(w.b, sum...))
}

// ParseTicket reads a line, with white space around it allowed. It does not
// look at the clock; see [Ticket.Expired].
func ParseTicket(line string) (Ticket, error) {
	line = strings.TrimSpace(line)
	text, ok := strings.CutPrefix(line, ticketPrefix)
	switch {
	case len(line) > maxTicketText:
		return Ticket{}, fmt.Errorf("%w (%d characters)", ErrTicketForeign, len(line))
	case !ok && newerTicket(line):
		return Ticket{}, ErrTicketVersion
	case !ok:
		return Ticket{}, ErrTicketForeign
	}
	b, err := ticketEncoding.DecodeString(text)
	if err != nil || len(b) < ticketChecksum {
		return Ticket{}, ErrTicketDamaged
	}
	body, sum := b[:len(b)-ticketChecksum], b[len(b)-ticketChecksum:]
	// The checksum is against typing errors; it hides nothing.
	if !bytes.Equal(sum, ticketSum(body)) {
		return Ticket{}, ErrTicketDamaged
	}
	t, err := parseTicketBody(body)
	if err != nil {
		return Ticket{}, fmt.Errorf("%w (%w)", ErrTicketDamaged, err)
	}
	// Base32 has spare bits at its end and time.Time cannot hold every number
	// of seconds: a line has exactly one form.
	if t.Line() != line {
		return Ticket{}, ErrTicketDamaged
	}
	return t, nil
}

func parseTicketBody(body []byte) (Ticket, error) {
	r := reader{b: body}
	var t Ticket
	t.Expires = time.Unix(int64(r.u64()), 0).UTC()
	copy(t.Hint[:], r.raw(len(t.Hint)))
	copy(t.Secret[:], r.raw(len(t.Secret)))
	for _, a := range r.list(maxTicketAddrs, maxAddr) {
		t.Addrs = append(t.Addrs, string(a))
	}
	return t, r.done()
}

func newerTicket(line string) bool {
	rest, ok := strings.CutPrefix(line, ticketFamily)
	return ok && rest != "" && rest[0] >= '2' && rest[0] <= '9'
}

// Expired says whether the ticket is of no use at the given time.
func (t Ticket) Expired(now time.Time) bool { return !now.Before(t.Expires) }

func ticketSum(body []byte) []byte {
	sum := sha256.Sum256(append([]byte("dmls ticket 1"), body...))
	return sum[:ticketChecksum]
}

// proof shows that whoever asks with this KeyPackage knows the secret. It
// does not show the secret, so an eavesdropper cannot ask with another one.
func (t Ticket) proof(keyPackage []byte) []byte {
	m := hmac.New(sha256.New, t.Secret[:])
	m.Write([]byte("dmls join 1"))
	m.Write(keyPackage)
	return m.Sum(nil)
}

// groupHint is the first 8 bytes of a labelled hash of the group id.
func groupHint(gid string) (hint [8]byte) {
	sum := sha256.Sum256([]byte("dmls group hint 1" + gid))
	copy(hint[:], sum[:])
	return hint
}
