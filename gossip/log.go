package gossip

import (
	"context"
	"log/slog"
)

// errorsOnly passes on gossipsub's errors and none of its chatter: at debug
// level it writes several lines for each packet.
type errorsOnly struct{ slog.Handler }

// Enabled reports whether a record of this level is wanted.
func (h errorsOnly) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelError && h.Handler.Enabled(ctx, level)
}

// WithAttrs keeps the bound on the level.
func (h errorsOnly) WithAttrs(attrs []slog.Attr) slog.Handler {
	return errorsOnly{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the bound on the level.
func (h errorsOnly) WithGroup(name string) slog.Handler {
	return errorsOnly{h.Handler.WithGroup(name)}
}
