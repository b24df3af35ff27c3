package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/multiformats/go-varint"
)

// An announcement is gossiped in place of a block above MaxGossip:
//
//	announceMagic (16 bytes) || CID (36 bytes: CIDv1, raw, sha2-256)
//
// Blocks begin with a version byte, which is no letter (frame, block format).
const announceMagic = "dmls-announce/1\x00"

var errAnnounce = errors.New("gossip: malformed announcement")

// blockCID is the id of data on the network, and gossipsub's message id.
func blockCID(data []byte) (cid.Cid, error) {
	id, err := cid.V1Builder{Codec: cid.Raw, MhType: multihash.SHA2_256}.Sum(data)
	if err != nil {
		return cid.Undef, fmt.Errorf("gossip: hash: %w", err)
	}
	return id, nil
}

func isAnnouncement(data []byte) bool {
	return bytes.HasPrefix(data, []byte(announceMagic))
}

func marshalAnnouncement(id cid.Cid) []byte {
	return append([]byte(announceMagic), id.Bytes()...)
}

// parseAnnouncement accepts exactly what marshalAnnouncement writes.
func parseAnnouncement(data []byte) (cid.Cid, error) {
	rest, ok := bytes.CutPrefix(data, []byte(announceMagic))
	if !ok {
		return cid.Undef, errAnnounce
	}
	id, err := cid.Cast(rest)
	if err != nil {
		return cid.Undef, fmt.Errorf("%w: %w", errAnnounce, err)
	}
	want := cid.Prefix{Version: 1, Codec: cid.Raw, MhType: multihash.SHA2_256, MhLength: 32}
	if id.Prefix() != want {
		return cid.Undef, fmt.Errorf("%w: not a CIDv1 of raw bytes under sha2-256", errAnnounce)
	}
	return id, nil
}

// piece is how much of a message is read or written under one deadline, and
// the least that is reserved at once, bytes.
const piece = 64 << 10

// messageReader is the reading side of a stream.
type messageReader interface {
	io.Reader
	io.ByteReader
}

// readMessage reads one message: its length as a minimal unsigned varint, then
// as many bytes. A length over limit is refused before anything is allocated,
// and the buffer never grows beyond twice what has really arrived. ahead is
// called before n more bytes are read, so that the caller can reserve memory
// and move its deadline. io.EOF means that the stream ended between messages.
func readMessage(r messageReader, limit int, ahead func(n int) error) ([]byte, error) {
	size, err := varint.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if size > uint64(limit) {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, limit)
	}
	var message []byte
	for have := 0; have < int(size); have = len(message) {
		n := min(int(size)-have, max(piece, have))
		if err := ahead(n); err != nil {
			return nil, err
		}
		message = slices.Grow(message, n)[:have+n]
		for part := message[have:]; len(part) > 0; {
			n := min(len(part), piece)
			if err := ahead(0); err != nil {
				return nil, err
			}
			if _, err := io.ReadFull(r, part[:n]); err != nil {
				return nil, fmt.Errorf("gossip: message cut short: %w", err)
			}
			part = part[n:]
		}
	}
	return message, nil
}

// writeMessage writes what readMessage reads, calling ahead before each piece.
func writeMessage(w io.Writer, message []byte, ahead func() error) error {
	head := varint.ToUvarint(uint64(len(message)))
	first := min(len(message), piece)
	part, rest := append(head, message[:first]...), message[first:]
	for {
		if err := ahead(); err != nil {
			return err
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
		if len(rest) == 0 {
			return nil
		}
		n := min(len(rest), piece)
		part, rest = rest[:n], rest[n:]
	}
}
