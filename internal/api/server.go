package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"time"
	"unicode/utf8"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/node"
)

// Server serves a Backend. Make one with NewServer.
type Server struct {
	backend Backend
	version Version
	causes  []Cause
	began   time.Time
	http    http.Server
	stop    context.CancelFunc // ends event streams
	drain   context.Context
}

// NewServer wraps b; more explains errors that are particular to b. Nothing is
// served before Serve.
func NewServer(b Backend, v Version, more ...Cause) *Server {
	s := &Server{backend: b, version: v, causes: more, began: time.Now()}
	s.drain, s.stop = context.WithCancel(context.Background())
	s.http = http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return s.drain },
	}
	return s
}

// Serve answers until Shutdown; then it returns nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

// Shutdown ends event streams and waiting joins, lets short requests end, and
// closes the listener. When ctx ends first, it cuts what is left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

// ServeHTTP serves one request, for tests and for other muxes.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.http.Handler.ServeHTTP(w, r) }

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	s.health(mux)
	mux.HandleFunc("GET /debug/pprof/{name}", func(w http.ResponseWriter, r *http.Request) { pprof.Handler(r.PathValue("name")).ServeHTTP(w, r) })
	mux.HandleFunc("GET /v1/version", s.answer("tell the version", func(*http.Request) (any, error) { return s.version, nil }))
	mux.HandleFunc("GET /v1/id", s.answer("tell the identity", func(*http.Request) (any, error) { return s.backend.Identity(), nil }))
	mux.HandleFunc("GET /v1/status", s.answer("tell the status", s.status))
	mux.HandleFunc("GET /v1/peers", s.answer("list peers", func(*http.Request) (any, error) { return s.backend.Peers(), nil }))

	mux.HandleFunc("GET /v1/groups", s.answer("list groups", func(*http.Request) (any, error) { return brief(s.backend.Groups()), nil }))
	mux.HandleFunc("POST /v1/groups", s.answer("create a group", s.create))
	mux.HandleFunc("GET /v1/groups/{ref}", s.group("show", func(_ *http.Request, gid string) (any, error) {
		g, err := s.backend.Group(gid)
		return counted(g), err
	}))
	mux.HandleFunc("GET /v1/groups/{ref}/members", s.group("list members of", s.members))
	mux.HandleFunc("DELETE /v1/groups/{ref}", s.change("forget", func(r *http.Request, gid string) error { return s.backend.Forget(r.Context(), gid) }))
	mux.HandleFunc("GET /v1/groups/{ref}/dag", s.group("draw", func(_ *http.Request, gid string) (any, error) { return s.backend.DAG(gid) }))
	mux.HandleFunc("GET /v1/groups/{ref}/log", s.group("list", func(_ *http.Request, gid string) (any, error) { return s.backend.Log(gid) }))
	mux.HandleFunc("GET /v1/groups/{ref}/events", s.events)
	mux.HandleFunc("POST /v1/groups/{ref}/compact", s.group("compact the log of", s.compact))
	mux.HandleFunc("POST /v1/groups/{ref}/messages", s.group("send to", s.send))
	mux.HandleFunc("POST /v1/groups/{ref}/invite", s.group("invite to", s.invite))
	mux.HandleFunc("POST /v1/groups/{ref}/remove", s.change("remove from", s.remove))
	mux.HandleFunc("POST /v1/groups/{ref}/promote", s.change("promote in", s.promote))
	mux.HandleFunc("POST /v1/groups/{ref}/demote", s.change("demote in", s.demote))
	mux.HandleFunc("POST /v1/groups/{ref}/update", s.change("update", func(r *http.Request, gid string) error { return s.backend.Update(r.Context(), gid) }))
	mux.HandleFunc("POST /v1/groups/{ref}/leave", s.change("leave", func(r *http.Request, gid string) error { return s.backend.Leave(r.Context(), gid) }))
	mux.HandleFunc("POST /v1/join", s.answer("join", s.join))
	mux.HandleFunc("GET /v1/keys", s.answer("tell about keys", s.keys))
	mux.HandleFunc("POST /v1/keys/rotate", s.answer("rotate the root key", s.rotate))
	mux.HandleFunc("POST /v1/debug/block", s.answer("block the peer", s.gate(func(p string) error { return s.backend.Block(p) })))
	mux.HandleFunc("POST /v1/debug/unblock", s.answer("unblock the peer", s.gate(func(p string) error { return s.backend.Unblock(p) })))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, &Error{What: "cannot serve " + r.Method + " " + r.URL.Path, Why: "there is no such path and method", Fix: "use a client of the same version as the daemon", Code: NotFound})
	})
	return mux
}

// answer serves what f returns as JSON, or its error.
func (s *Server) answer(what string, f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		v, err := f(r)
		if errors.Is(err, context.Canceled) && s.drain.Err() != nil {
			err = &Error{What: "cannot " + what, Why: "the daemon is stopping", Fix: "start it with dmlsd run, and try again", Code: NotRunning}
		}
		if err != nil {
			writeError(w, Explain("cannot "+what, err, s.causes...))
			return
		}
		writeJSON(w, http.StatusOK, v)
	}
}

// group resolves {ref} first.
func (s *Server) group(verb string, f func(r *http.Request, gid string) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ref := r.PathValue("ref")
		s.answer(fmt.Sprintf("%s %.80q", verb, ref), func(r *http.Request) (any, error) {
			gid, err := s.backend.Resolve(ref)
			if err != nil {
				return nil, err
			}
			return f(r, gid)
		})(w, r)
	}
}

// change answers with the group's id.
func (s *Server) change(verb string, f func(r *http.Request, gid string) error) http.HandlerFunc {
	return s.group(verb, func(r *http.Request, gid string) (any, error) { return Done{Group: gid}, f(r, gid) })
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if s.drain.Err() != nil {
		writeError(w, &Error{What: "not ready", Why: "the daemon is stopping", Fix: "start it with: dmlsd run", Code: NotRunning})
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

func (s *Server) status(*http.Request) (any, error) {
	st := Status{
		Identity: s.backend.Identity(), Version: s.version.Version, PID: os.Getpid(),
		Uptime: time.Since(s.began).Round(time.Millisecond).Seconds(), Groups: brief(s.backend.Groups()),
	}
	for _, p := range s.backend.Peers() {
		if p.Blocked {
			st.Blocked++
		} else {
			st.Peers++
		}
	}
	return st, nil
}

func (s *Server) create(r *http.Request) (any, error) {
	var q createRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	p, err := group.ParsePolicy(q.Policy)
	if err != nil {
		return nil, err
	}
	gid, err := s.backend.Create(r.Context(), q.Name, p)
	return Done{Group: gid, Name: q.Name}, err
}

func (s *Server) send(r *http.Request, gid string) (any, error) {
	var q sendRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	return s.backend.Send(r.Context(), gid, q.Text)
}

func (s *Server) compact(r *http.Request, gid string) (any, error) {
	var q compactRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	c := node.Cut{Through: q.Through}
	if q.OlderThan > 0 {
		c.Before = time.Now().Add(-time.Duration(q.OlderThan * float64(time.Second)))
	}
	return s.backend.Compact(r.Context(), gid, c)
}

func (s *Server) invite(r *http.Request, gid string) (any, error) {
	t, err := s.backend.Invite(r.Context(), gid)
	return Ticket{Ticket: t}, err
}

func (s *Server) remove(r *http.Request, gid string) error {
	return onMember(r, gid, s.backend.Remove)
}

func (s *Server) promote(r *http.Request, gid string) error {
	return onMember(r, gid, s.backend.Promote)
}

func (s *Server) demote(r *http.Request, gid string) error {
	return onMember(r, gid, s.backend.Demote)
}

func onMember(r *http.Request, gid string, f func(ctx context.Context, gid, member string) error) error {
	var q memberRequest
	if err := readJSON(r, &q); err != nil {
		return err
	}
	return f(r.Context(), gid, q.Member)
}

// join waits until the device has joined or the client gives up.
func (s *Server) join(r *http.Request) (any, error) {
	var q joinRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	gid, err := s.backend.Join(r.Context(), q.Ticket)
	if err != nil {
		return nil, err
	}
	g, err := s.backend.Group(gid)
	return Done{Group: gid, Name: g.Name}, err
}

func (s *Server) gate(f func(peer string) error) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var q peerRequest
		if err := readJSON(r, &q); err != nil {
			return nil, err
		}
		return Peer{Peer: q.Peer}, f(q.Peer)
	}
}

func readJSON(r *http.Request, v any) error {
	b, err := io.ReadAll(r.Body)
	var big *http.MaxBytesError
	if err == nil && !utf8.Valid(b) {
		err = errors.New("not UTF-8") // the decoder would change it without a word
	}
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		err = d.Decode(v)
	}
	switch {
	case errors.As(err, &big):
		return &Error{What: "request refused", Why: fmt.Sprintf("its body has more than %d bytes", big.Limit), Fix: "send a text of 1 byte to 64 KiB", Code: TooLarge}
	case err != nil:
		return &Error{What: "request refused", Why: "its body is not the JSON that is wanted: " + err.Error(), Fix: "use a client of the same version as the daemon", Code: Usage}
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		writeError(w, Explain("cannot answer", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

func writeError(w http.ResponseWriter, e *Error) { writeJSON(w, e.Code.Status(), e) }
