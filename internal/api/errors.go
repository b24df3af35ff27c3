package api

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"syscall"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/node"
)

// Error says what failed, why, and what to do about it. It is what a client
// gets as JSON, and what the command line prints as one line.
type Error struct {
	What string `json:"error"`
	Why  string `json:"why"`
	Fix  string `json:"fix"`
	Code Code   `json:"code"`

	cause error // where it is known on this side
}

// Unwrap is the cause, where it is known on this side of the socket.
func (e *Error) Unwrap() error { return e.cause }

func (e *Error) Error() string {
	s := e.What
	if e.Why != "" {
		s += ": " + e.Why
	}
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// Code is the class of an Error. Names are stable.
type Code string

const (
	Failed     Code = "failed"
	Usage      Code = "usage"
	TooLarge   Code = "too_large"
	NotRunning Code = "not_running"
	NotFound   Code = "not_found"
	Denied     Code = "denied"
	Conflict   Code = "conflict"
	Timeout    Code = "timeout"
	Damaged    Code = "damaged"
	DiskFull   Code = "disk_full"
)

// A class is the HTTP status and the exit code of a Code.
type class struct {
	code   Code
	status int
	exit   int
	help   string
}

// classes is the one table of statuses and exit codes.
var classes = []class{
	{Failed, http.StatusInternalServerError, 1, "failed"},
	{Usage, http.StatusBadRequest, 2, "wrong usage or bad input"},
	{TooLarge, http.StatusRequestEntityTooLarge, 2, ""},
	{NotRunning, http.StatusServiceUnavailable, 3, "daemon not running"},
	{NotFound, http.StatusNotFound, 4, "no such group, member or peer"},
	{Denied, http.StatusForbidden, 5, "refused: by the inviter, or this device is not a member"},
	{Conflict, http.StatusConflict, 6, "conflict: already there, or in use by another daemon"},
	{Timeout, http.StatusGatewayTimeout, 7, "timeout"},
	{Damaged, http.StatusInternalServerError, 8, "damaged data"},
	{DiskFull, http.StatusInsufficientStorage, 9, "disk full"},
}

// Cause maps an error of a layer below to a class and to advice.
type Cause struct {
	Err  error
	Code Code
	Fix  string
}

// causes is the table for the engine and the node. Callers add what their
// store and their transport return; the first match counts.
var causes = []Cause{
	{node.ErrNotFound, NotFound, "see: dmlsd group list, dmlsd group members GROUP"},
	{node.ErrAmbiguous, Usage, "give more of the id"},
	{node.ErrLogAnew, Conflict, "begin at its beginning: dmlsd tail GROUP"},
	{node.ErrKeep, Usage, "name what to keep: dmlsd group compact --help, dmlsd run --help"},
	{node.ErrName, Usage, "choose another name"},
	{node.ErrTicketForeign, Usage, "paste the whole line that dmlsd invite printed"},
	{node.ErrTicketVersion, Usage, "update dmlsd"},
	{node.ErrTicketDamaged, Usage, "paste the whole line that dmlsd invite printed"},
	{node.ErrTicketOwn, Usage, "it is for others: give it to somebody else"},
	{node.ErrTicketExpired, Denied, "ask for a new ticket: dmlsd invite GROUP"},
	{node.ErrTicketUsed, Denied, "ask for a new ticket: dmlsd invite GROUP"},
	{node.ErrTicketUnknown, Denied, "ask for a new ticket: dmlsd invite GROUP"},
	{node.ErrRefused, Denied, "ask for a new ticket: dmlsd invite GROUP"},
	{node.ErrUnreachable, Timeout, "see that the inviter's daemon runs and can be reached, then join again"},
	{node.ErrNoAddress, Failed, "start the daemon with --listen"},
	{node.ErrNoIdentity, NotFound, "create one: dmlsd init --name NAME"},
	{node.ErrIdentity, Damaged, "restore the home from a backup, or begin a new one with dmlsd init"},
	{node.ErrClosed, NotRunning, "start it with: dmlsd run"},
	{group.ErrTextSize, TooLarge, "send a text of 1 byte to 64 KiB"},
	{group.ErrNotMember, Denied, "ask a member for a ticket, then: dmlsd join TICKET"},
	{group.ErrLeaving, Denied, "join again with a new ticket once you have left"},
	{group.ErrStranded, Conflict, "wait until a member has added this device again; dmlsd tail GROUP --events shows it"},
	{group.ErrNoSuchLeaf, NotFound, "see: dmlsd group members GROUP"},
	{group.ErrSelfRemove, Usage, "use: dmlsd group leave GROUP"},
	{group.ErrAlready, Conflict, "nothing to do"},
	{group.ErrForbidden, Denied, "ask an admin: dmlsd group members GROUP shows who is one"},
	{group.ErrPolicy, Usage, "name one of them: --policy admins, --policy open"},
	{group.ErrNoAdmins, Usage, "everybody may do everything there"},
	{group.ErrSameRole, Conflict, "nothing to do"},
	{group.ErrLastAdmin, Conflict, "promote somebody first: dmlsd group promote GROUP MEMBER"},
	{group.ErrEmptyChange, Usage, "name what to change"},
	{group.ErrRecords, Damaged, "restore the home from a backup, or begin a new one with dmlsd init"},
	{syscall.ENOSPC, DiskFull, "free some space and start the daemon again"},
	{context.DeadlineExceeded, Timeout, "try again, or give a longer --timeout"},
	{context.Canceled, Timeout, "try again"},
	{syscall.ENOTDIR, Failed, "name another home with --home"},
	{fs.ErrPermission, Denied, "run it as the user who owns the home"},
}

// Explain wraps err as an Error: what was tried, and class and advice from more
// and from the table. An *Error stays as it is.
func Explain(what string, err error, more ...Cause) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	e = &Error{What: what, Why: reason(err), Code: Failed, Fix: "the daemon's log may say more", cause: err}
	for _, c := range append(more[:len(more):len(more)], causes...) {
		if errors.Is(err, c.Err) {
			e.Code, e.Fix = c.Code, c.Fix
			break
		}
	}
	return e
}

// reason is err's text on one line, without the name of the package it comes
// from: that is for programmers.
func reason(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	for _, p := range []string{"dmls: ", "node: ", "group: ", "gossip: ", "store: ", "mls: ", "api: "} {
		s = strings.ReplaceAll(strings.TrimPrefix(s, p), ": "+p, ": ")
	}
	return s
}

func (c Code) class() class {
	for _, k := range classes {
		if k.code == c {
			return k
		}
	}
	return classes[0]
}

// Status is the HTTP status of the class.
func (c Code) Status() int { return c.class().status }

// Exit is the exit code of the class.
func (c Code) Exit() int { return c.class().exit }

// ExitCodes lists the exit codes for --help: code and meaning.
func ExitCodes() (codes []int, meanings []string) {
	codes, meanings = append(codes, 0), append(meanings, "ok")
	for _, k := range classes {
		if k.help != "" {
			codes, meanings = append(codes, k.exit), append(meanings, k.help)
		}
	}
	return append(codes, ExitInterrupted, ExitClosed), append(meanings, "interrupted", "nobody reads the output any more")
}

// Exit codes that no error has: those of a process that SIGINT or SIGPIPE
// ended, as shells count them.
const (
	ExitInterrupted = 130
	ExitClosed      = 141
)
