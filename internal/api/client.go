package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/node"
)

// Client talks to the daemon of one home. It is safe for concurrent use.
type Client struct {
	home string
	http http.Client
}

// Dial returns a client for the daemon of a home. Whether one runs there shows
// with the first call.
func Dial(home string) (*Client, error) {
	path, err := SocketPath(home)
	if err != nil {
		return nil, Explain("cannot find the daemon", err)
	}
	c := &Client{home: home}
	c.http.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if err := checkSocketDir(home, path); err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}
	return c, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// maxAnswer bounds what the client reads of an answer: a DAG of 100,000
// commits is far below.
const maxAnswer = 256 << 20

// call sends body (nil: none) as JSON and decodes the answer into out.
func (c *Client) call(ctx context.Context, method, path string, body, out any) error {
	resp, err := c.open(ctx, method, path, body, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return c.broken(ctx, err)
	}
	return nil
}

// open sends a request and returns an answer of status 200, or an *Error.
func (c *Client) open(ctx context.Context, method, path string, body any, header http.Header) (*http.Response, error) {
	if path == "" {
		return nil, &Error{What: "no such group", Why: "that is neither an id nor a name", Fix: "see: dmlsd group list", Code: NotFound}
	}
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, Explain("cannot ask the daemon", err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://dmlsd"+path, r)
	if err != nil {
		return nil, Explain("cannot ask the daemon", err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	e := &Error{}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxRequest)).Decode(e); err != nil || e.What == "" {
		e = &Error{What: "the daemon refused", Why: "HTTP status " + resp.Status, Fix: "use a client of the same version as the daemon", Code: Failed}
	}
	return nil, e
}

// broken explains why there is no answer.
func (c *Client) broken(ctx context.Context, err error) error {
	var dial *net.OpError
	switch {
	case ctx.Err() != nil:
		return Explain("gave up waiting for the daemon", ctx.Err())
	case errors.Is(err, os.ErrPermission):
		return Explain("cannot open the daemon's socket", err)
	case errors.As(err, &dial) && dial.Op == "dial":
		if !Initialised(c.home) {
			return NotInitialised(c.home)
		}
		return &Error{What: "daemon not running", Why: "nothing answers on the socket of " + c.home, Fix: "start it with: dmlsd run", Code: NotRunning}
	default:
		return &Error{What: "the daemon went away", Why: reason(err), Fix: "start it with: dmlsd run", Code: NotRunning}
	}
}

// groupPath is the path of a group, or "" for what no path can name.
func groupPath(ref, tail string) string {
	if ref == "" || ref == "." || ref == ".." {
		return ""
	}
	return "/v1/groups/" + url.PathEscape(ref) + tail
}

// Version returns the build of the running daemon.
func (c *Client) Version(ctx context.Context) (v Version, err error) {
	return v, c.call(ctx, "GET", "/v1/version", nil, &v)
}

// Identity returns the device's identity.
func (c *Client) Identity(ctx context.Context) (v Identity, err error) {
	return v, c.call(ctx, "GET", "/v1/id", nil, &v)
}

// Status returns the daemon at a glance.
func (c *Client) Status(ctx context.Context) (v Status, err error) {
	return v, c.call(ctx, "GET", "/v1/status", nil, &v)
}

// Peers lists connected and blocked peers.
func (c *Client) Peers(ctx context.Context) (v []Peer, err error) {
	return v, c.call(ctx, "GET", "/v1/peers", nil, &v)
}

// Groups lists the device's groups.
func (c *Client) Groups(ctx context.Context) (v []Group, err error) {
	return v, c.call(ctx, "GET", "/v1/groups", nil, &v)
}

// Group returns one group.
func (c *Client) Group(ctx context.Context, ref string) (v Group, err error) {
	return v, c.call(ctx, "GET", groupPath(ref, ""), nil, &v)
}

// DAG returns a group's commit graph.
func (c *Client) DAG(ctx context.Context, ref string) (v DAG, err error) {
	return v, c.call(ctx, "GET", groupPath(ref, "/dag"), nil, &v)
}

// Log returns the frames opened here in canonical order.
func (c *Client) Log(ctx context.Context, ref string) (v []LogEntry, err error) {
	return v, c.call(ctx, "GET", groupPath(ref, "/log"), nil, &v)
}

// utf8Only refuses what JSON would change on its way: bytes that are no UTF-8
// become question marks without a word.
func utf8Only(what, s string) error {
	if utf8.ValidString(s) {
		return nil
	}
	return &Error{What: "cannot send that", Why: what + " is not UTF-8", Fix: "send text, or encode it (base64)", Code: Usage}
}

// Create founds a group under a policy, "admins" or "open"; "" is admins.
func (c *Client) Create(ctx context.Context, name, policy string) (v Done, err error) {
	if err := utf8Only("the name", name); err != nil {
		return v, err
	}
	return v, c.call(ctx, "POST", "/v1/groups", createRequest{name, policy}, &v)
}

// Invite makes a ticket for one device.
func (c *Client) Invite(ctx context.Context, ref string) (v Ticket, err error) {
	return v, c.call(ctx, "POST", groupPath(ref, "/invite"), nil, &v)
}

// Join waits until this device has joined the ticket's group, or for ctx.
func (c *Client) Join(ctx context.Context, ticket string) (v Done, err error) {
	return v, c.call(ctx, "POST", "/v1/join", joinRequest{ticket}, &v)
}

// Send returns when the message is durable on this device.
func (c *Client) Send(ctx context.Context, ref, text string) (v Sent, err error) {
	if err := utf8Only("the text", text); err != nil {
		return v, err
	}
	return v, c.call(ctx, "POST", groupPath(ref, "/messages"), sendRequest{text}, &v)
}

// Remove commits the removal of a member: an id, a unique prefix or a name.
func (c *Client) Remove(ctx context.Context, ref, member string) error {
	return c.call(ctx, "POST", groupPath(ref, "/remove"), memberRequest{member}, &Done{})
}

// Promote makes a member an admin: an id, a unique prefix or a name.
func (c *Client) Promote(ctx context.Context, ref, member string) error {
	return c.call(ctx, "POST", groupPath(ref, "/promote"), memberRequest{member}, &Done{})
}

// Demote takes that back.
func (c *Client) Demote(ctx context.Context, ref, member string) error {
	return c.call(ctx, "POST", groupPath(ref, "/demote"), memberRequest{member}, &Done{})
}

// Update commits new keys for this device.
func (c *Client) Update(ctx context.Context, ref string) error {
	return c.call(ctx, "POST", groupPath(ref, "/update"), nil, &Done{})
}

// Leave proposes this device's removal to the others.
func (c *Client) Leave(ctx context.Context, ref string) error {
	return c.call(ctx, "POST", groupPath(ref, "/leave"), nil, &Done{})
}

// Forget wipes the group from this device.
func (c *Client) Forget(ctx context.Context, ref string) error {
	return c.call(ctx, "DELETE", groupPath(ref, ""), nil, &Done{})
}

// Compact removes the oldest events of this device's log of a group: those up to
// a cursor, those of before a time ago, or, if both are given, what fits both.
func (c *Client) Compact(ctx context.Context, ref string, through uint64, olderThan time.Duration) (v node.Compacted, err error) {
	return v, c.call(ctx, "POST", groupPath(ref, "/compact"), compactRequest{through, olderThan.Seconds()}, &v)
}

// Profile copies a profile of the daemon: "goroutine", "heap", "mutex" and the
// others of runtime/pprof, as text.
func (c *Client) Profile(ctx context.Context, name string, w io.Writer) error {
	resp, err := c.open(ctx, "GET", "/debug/pprof/"+url.PathEscape(name)+"?debug=1", nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return c.broken(ctx, err)
	}
	return nil
}

// Block cuts the connection to a peer and refuses new ones.
func (c *Client) Block(ctx context.Context, peer string) error {
	return c.call(ctx, "POST", "/v1/debug/block", peerRequest{peer}, &Peer{})
}

// Unblock takes Block back.
func (c *Client) Unblock(ctx context.Context, peer string) error {
	return c.call(ctx, "POST", "/v1/debug/unblock", peerRequest{peer}, &Peer{})
}

// Events yields a group's events with cursors above after. It ends with the
// newest, or with follow only when ctx ends or the daemon goes; then the last
// value is an error.
func (c *Client) Events(ctx context.Context, ref string, after uint64, follow bool) iter.Seq2[group.Event, error] {
	return func(yield func(group.Event, error) bool) {
		path := groupPath(ref, "/events")
		if follow && path != "" {
			path += "?follow=1"
		}
		h := http.Header{"Accept": {"text/event-stream"}, "Last-Event-Id": {strconv.FormatUint(after, 10)}}
		resp, err := c.open(ctx, "GET", path, nil, h)
		if err != nil {
			yield(group.Event{}, err)
			return
		}
		defer resp.Body.Close()
		lines := bufio.NewReader(resp.Body)
		kind := ""
		for {
			line, err := lines.ReadString('\n')
			if errors.Is(err, io.EOF) && !follow && ctx.Err() == nil {
				return
			}
			if err != nil {
				yield(group.Event{}, c.broken(ctx, err))
				return
			}
			field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			switch field {
			case "event":
				kind = value
			case "data":
				ev, err := decodeEvent(kind, value)
				if !yield(ev, err) || err != nil {
					return
				}
			}
		}
	}
}

func decodeEvent(kind, data string) (ev group.Event, err error) {
	if kind == "error" {
		e := &Error{}
		if err := json.Unmarshal([]byte(data), e); err != nil {
			return ev, fmt.Errorf("api: event stream: %w", err)
		}
		return ev, e
	}
	if err := json.Unmarshal([]byte(data), &ev); err != nil {
		return ev, fmt.Errorf("api: event stream: %w", err)
	}
	return ev, nil
}
