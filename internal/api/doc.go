// Package api is the control API of a daemon: HTTP/1.1 and JSON over a Unix
// socket in the daemon's home, events as server-sent events with cursors.
//
// It holds the types on the wire, the server, and the client that the command
// line uses. It is not an engine and keeps no state: the server translates
// between the wire and a [Backend], which in a daemon is a *node.Node (see
// [FromNode]). Whoever may open the socket is the owner of the device; the
// file's mode is the only access control, so the socket is 0600 in a directory
// of 0700.
//
//	GET  /v1/version /v1/id /v1/status /v1/peers
//	GET  /v1/groups                       POST /v1/groups {"name"}
//	GET  /v1/groups/GROUP                 DELETE /v1/groups/GROUP
//	GET  /v1/groups/GROUP/dag             GET  /v1/groups/GROUP/log
//	GET  /v1/groups/GROUP/events?after=CURSOR&follow=1
//	POST /v1/groups/GROUP/compact {"through","older_than_seconds"}
//	POST /v1/groups/GROUP/messages {"text"}
//	POST /v1/groups/GROUP/invite          POST /v1/groups/GROUP/remove {"member"}
//	POST /v1/groups/GROUP/update          POST /v1/groups/GROUP/leave
//	POST /v1/join {"ticket"}
//	POST /v1/debug/block {"peer"}         POST /v1/debug/unblock {"peer"}
//	GET  /livez                           GET  /readyz
//
// Cursors only grow, and one stays valid when events before or behind it are
// removed: an event log_compacted stands for what is gone.
//
// GROUP is an id, a unique prefix of one, or a name. Errors are an [Error]
// with a fitting status.
package api
