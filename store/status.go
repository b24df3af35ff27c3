package store

import "time"

// Status is what can be told of a store without secrets.
type Status struct {
	Format       int       `json:"format"`
	Generation   uint64    `json:"generation"` // of the root key
	Batch        uint64    `json:"batch"`      // number of the last one
	Sealing      string    `json:"sealing"`    // none, passphrase or key file
	EraseSeconds float64   `json:"erase_interval_seconds"`
	Pending      int       `json:"pending_erasures"` // records deleted or overwritten whose keys are not gone yet
	PendingSince time.Time `json:"pending_since,omitzero"`
	Erased       uint64    `json:"erased"` // records since the store was opened
}

// Status describes the store. It waits for a batch that is being written.
func (s *Store) Status() Status {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Format: formatVersion, Generation: s.current.gen, Batch: s.state.seq, Sealing: sealingNames[s.sealer.kind],
		EraseSeconds: max(0, s.interval).Seconds(), Pending: s.pending.n, Erased: s.erased,
	}
	if st.Pending > 0 {
		st.PendingSince = s.pending.since
	}
	return st
}
