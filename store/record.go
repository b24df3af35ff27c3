package store

import (
	"encoding/binary"
	"fmt"

	"github.com/dmlsd/dmls/group"
)

// Keys in badger, by their first byte. Record keys keep their order.
const (
	spaceMeta    = 'm' // format, state, canary
	spaceRecord  = 'r' // || key
	spacePart    = 'p' // || uint16 length of key || key || uint32 index from 1
	spaceJournal = 'j' // || uint32 index from 0
)

var (
	keyFormat = []byte("mformat") // uint16, see formatVersion
	keyState  = []byte("mstate")  // see state
	keyCanary = []byte("mcanary") // sealed under the root key: tells a foreign root
	keySeal   = []byte("mseal")   // uint32 pieces || 32 bytes hash: the journal counts
)

const (
	formatVersion = 1
	maxKey        = 1024
	// partSize cuts stored values, so that each piece is below badger's
	// threshold for the value log, which would keep it longest.
	partSize = 256 << 10
)

// userMeta of a record in badger.
const metaCut = 0x80 // the value goes on in parts

func recordKey(key string) []byte {
	return append([]byte{spaceRecord}, key...)
}

func partKey(key string, index int) []byte {
	b := make([]byte, 0, 7+len(key))
	b = append(b, spacePart)
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, key...)
	return binary.BigEndian.AppendUint32(b, uint32(index))
}

func journalKey(index int) []byte {
	return binary.BigEndian.AppendUint32([]byte{spaceJournal}, uint32(index))
}

// wrap says how the key of a record is found.
type wrap uint8

const (
	wrapNone    wrap = iota // Public: not encrypted
	wrapDerived             // derived from the root key and the key id
)

const headerVersion = 1

// header begins each stored record:
//
//	struct {
//	  uint8 version;   // 1
//	  uint8 class;     // group.Class
//	  uint8 wrap;
//	  uint64 key_id;   // 0 for Public, else never used twice in a store
//	  uint64 length;   // bytes of body, of which at most partSize follow here
//	} Header;          // 19 bytes
type header struct {
	class  group.Class
	wrap   wrap
	keyID  uint64
	length uint64
}

const headerSize = 19

func (h header) append(b []byte) []byte {
	b = append(b, headerVersion, byte(h.class), byte(h.wrap))
	b = binary.BigEndian.AppendUint64(b, h.keyID)
	return binary.BigEndian.AppendUint64(b, h.length)
}

// parts is the number of pieces that follow the first one.
func (h header) parts() int {
	if h.length == 0 {
		return 0
	}
	return int((h.length - 1) / partSize)
}

func parseHeader(b []byte) (header, []byte, error) {
	if len(b) < headerSize {
		return header{}, nil, fmt.Errorf("%w: a record of %d bytes has no header", ErrCorrupt, len(b))
	}
	h := header{
		class:  group.Class(b[1]),
		wrap:   wrap(b[2]),
		keyID:  binary.BigEndian.Uint64(b[3:]),
		length: binary.BigEndian.Uint64(b[11:]),
	}
	body := b[headerSize:]
	switch {
	case b[0] > headerVersion || h.wrap > wrapDerived:
		return header{}, nil, fmt.Errorf("%w (record version %d, wrapping %d)", ErrNewerFormat, b[0], h.wrap)
	case b[0] != headerVersion || h.class < group.Public || h.class > group.History,
		(h.class == group.Public) != (h.wrap == wrapNone),
		uint64(len(body)) != min(h.length, partSize):
		return header{}, nil, fmt.Errorf("%w: a record's header does not fit the record", ErrCorrupt)
	}
	return h, body, nil
}

// state is written with every batch.
//
//	struct { uint64 gen; uint64 seq; uint64 next_key_id; } State; // 24 bytes
type state struct {
	gen     uint64 // of the root key
	seq     uint64 // number of the batch
	nextKey uint64
}

func (s state) marshal() []byte {
	b := binary.BigEndian.AppendUint64(nil, s.gen)
	b = binary.BigEndian.AppendUint64(b, s.seq)
	return binary.BigEndian.AppendUint64(b, s.nextKey)
}

func parseState(b []byte) (state, error) {
	if len(b) != 24 {
		return state{}, fmt.Errorf("%w: the state record has %d bytes, not 24", ErrCorrupt, len(b))
	}
	return state{
		gen:     binary.BigEndian.Uint64(b),
		seq:     binary.BigEndian.Uint64(b[8:]),
		nextKey: binary.BigEndian.Uint64(b[16:]),
	}, nil
}
