package node

// joinKind tells the messages of /dmls/join/1 apart.
type joinKind uint8

const (
	joinRequest joinKind = 1
	joinReply   joinKind = 2
)

// Bounds of join messages.
const (
	maxKeyPackage = 64 << 10
	maxBundle     = 63 << 20
	maxWords      = 512
	ticketIDSize  = 32 // hex digits
	proofSize     = 32
)

// joinMessage is a message of /dmls/join/1:
//
//	struct {
//	  uint8 version = 1;
//	  uint8 kind;
//	  opaque ticket[32];                  // its id, hex
//	  select (kind) {
//	    case request: opaque proof[32];   // HMAC-SHA256(secret, "dmls join 1" || key_package)
//	                  opaque key_package<V>;
//	    case reply:   uint8 refusal;      // 0: joined
//	                  opaque body<V>;     // bundle for group.Join, or words
//	  };
//	} JoinMessage;
type joinMessage struct {
	kind       joinKind
	ticket     string
	proof      []byte
	keyPackage []byte
	refusal    RefusalCode
	body       []byte
}

const joinVersion = 1

func (m *joinMessage) marshal() []byte {
	var w writer
	w.u8(joinVersion)
	w.u8(uint8(m.kind))
	w.raw([]byte(m.ticket))
	if m.kind == joinRequest {
		w.raw(m.proof)
		w.bytes(m.keyPackage)
	} else {
		w.u8(uint8(m.refusal))
		w.bytes(m.body)
	}
	return w.b
}

// parseJoinMessage reads a message, which shares memory with b.
func parseJoinMessage(b []byte) (*joinMessage, error) {
	r := reader{b: b}
	if v := r.u8(); v != joinVersion {
		r.fail("join version %d", v)
	}
	m := &joinMessage{kind: joinKind(r.u8()), ticket: string(r.raw(ticketIDSize))}
	for _, c := range []byte(m.ticket) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			r.fail("ticket id is not hex")
		}
	}
	switch m.kind {
	case joinRequest:
		m.proof, m.keyPackage = r.raw(proofSize), r.bytes(maxKeyPackage)
	case joinReply:
		m.refusal = RefusalCode(r.u8())
		limit := maxBundle
		if m.refusal != 0 {
			limit = maxWords
		}
		m.body = r.bytes(limit)
	default:
		r.fail("join kind %d", m.kind)
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	return m, nil
}

func reply(ticket string, bundle []byte) []byte {
	m := joinMessage{kind: joinReply, ticket: ticket, body: bundle}
	return m.marshal()
}

func refuse(ticket string, code RefusalCode, words string) []byte {
	m := joinMessage{kind: joinReply, ticket: ticket, refusal: code, body: []byte(words[:min(len(words), maxWords)])}
	return m.marshal()
}
