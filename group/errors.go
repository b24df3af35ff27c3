package group

import "errors"

// Errors for the caller: the request makes no sense in the group's state, and
// nothing changed.
var (
	ErrNotMember   = errors.New("group: this device is not a member any more")
	ErrLeaving     = errors.New("group: this device is leaving; it sends nothing else")
	ErrCopied      = errors.New("group: another device sends as this one, from a copy of its store; have it removed, wipe one of the two, and join again")
	ErrStranded    = errors.New("group: this device waits to be added again on the branch that won")
	ErrEmptyChange = errors.New("group: the change does nothing")
	ErrTextSize    = errors.New("group: the text is empty or too long")
	ErrNoSuchLeaf  = errors.New("group: no member at that leaf")
	ErrSelfRemove  = errors.New("group: a member does not remove itself by a commit")
	ErrAlready     = errors.New("group: that identity is a member already")
	ErrPolicy      = errors.New("group: no such policy")
	ErrNoAdmins    = errors.New("group: the members of this group have equal rights; it has no admins")
	ErrSameRole    = errors.New("group: that member has this role already")
	ErrLastAdmin   = errors.New("group: this is the last admin, and a group does not go without")
	ErrBundle      = errors.New("group: the Welcome bundle does not fit")
	ErrRecords     = errors.New("group: the stored records do not fit together")
	ErrInternal    = errors.New("group: broken invariant")
)

// Reasons of verdicts. They are values in a Result, never returned by Step.
var (
	ErrMalformed   = errors.New("group: malformed frame")
	ErrWrongGroup  = errors.New("group: frame of another group")
	ErrWrongEpoch  = errors.New("group: the frame's epoch id does not fit its parent")
	ErrLinks       = errors.New("group: the frame's links contradict its sender's chain")
	ErrForbidden   = errors.New("group: the sender has no right to do that")
	ErrRepeated    = errors.New("group: a second block with content that was opened already")
	ErrErased      = errors.New("group: the frame's epoch was erased, or lies above or beside this device's base")
	ErrForged      = errors.New("group: the frame does not open")
	ErrSpentKey    = errors.New("group: the key of this application frame was used already")
	ErrBadSignal   = errors.New("group: the signal is malformed or not for us")
	errNoFrame     = errors.New("group: no frame of this group")
	errSecondExit  = errors.New("group: a second block with a commit that removes this device")
	errUnsupported = errors.New("group: unsupported content")
)
