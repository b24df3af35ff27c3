// Package frame is the outside of a message: everything that the network and
// a relay need to know, and nothing that opens it.
//
//   - [Links] tie a frame to its sender's chain, its epoch and the frames that
//     it follows. They travel as authenticated_data of the MLS message
//     (RFC 9420, section 6), shaped as a SafeAAD of draft-ietf-mls-extensions:
//     signed and in the transcript, yet readable without keys.
//   - [Frame] is the DMLSMessage of draft-kohbrok-mls-dmls, always holding a
//     PrivateMessage.
//   - [Block] is a frame sealed by the group's [Gossip] keys for strangers and
//     relays; its CID is the id of the frame everywhere.
//
// Sealing hides metadata only. Who holds the gossip secret reads links, group
// id and integer epoch, never content.
//
// The package is pure: it needs no randomness, since the nonce of a block is a
// function of its content.
package frame
