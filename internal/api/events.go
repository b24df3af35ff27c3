package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/dmlsd/dmls/group"
)

// heartbeat is how often a silent stream says that it lives, which is also how
// soon a vanished client is noticed.
const heartbeat = 15 * time.Second

// events streams the device's event log of a group from a cursor on: the
// header Last-Event-ID, else the parameter after. Without follow=1 the stream
// ends with the newest event.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	ref := r.PathValue("ref")
	what := fmt.Sprintf("cannot follow %.80q", ref)
	gid, err := s.backend.Resolve(ref)
	if err != nil {
		writeError(w, Explain(what, err, s.causes...))
		return
	}
	cursor := r.Header.Get("Last-Event-ID")
	if cursor == "" {
		cursor = r.URL.Query().Get("after")
	}
	var after uint64
	if cursor != "" {
		if after, err = strconv.ParseUint(cursor, 10, 64); err != nil {
			writeError(w, &Error{What: what, Why: "the cursor is not a number", Fix: "use the cursor of an event", Code: Usage})
			return
		}
	}
	s.stream(w, r, gid, after, r.URL.Query().Get("follow") == "1")
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request, gid string, after uint64, follow bool) {
	type item struct {
		ev  group.Event
		err error
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	items := make(chan item)
	go func() {
		defer close(items)
		for ev, err := range s.backend.Events(ctx, gid, after, follow) {
			select {
			case items <- item{ev, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	_ = out.Flush()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case it, ok := <-items:
			switch {
			case !ok:
				return
			case it.err != nil:
				if ctx.Err() == nil {
					_ = writeSSE(w, "", "error", Explain("the stream ended", it.err, s.causes...))
				}
				return
			}
			err = writeSSE(w, strconv.FormatUint(it.ev.Cursor, 10), string(it.ev.Kind), it.ev)
		case <-beat.C:
			_, err = fmt.Fprint(w, ": alive\n\n")
		case <-ctx.Done():
			return
		}
		if err == nil {
			err = out.Flush()
		}
		if err != nil {
			return // the client is gone; its cursor says where to go on
		}
	}
}

// writeSSE writes one event. JSON has no line breaks, so one data line does.
func writeSSE(w http.ResponseWriter, id, kind string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	_, err = fmt.Fprintf(w, "%sevent: %s\ndata: %s\n\n", id, kind, b)
	return err
}
