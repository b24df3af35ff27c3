package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Span is a length of virtual time or, where a moment is meant, the time since
// the group was formed. Its text is that of time.Duration: "1m30s".
type Span time.Duration

func (s Span) String() string { return time.Duration(s).String() }

// MarshalText implements encoding.TextMarshaler.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no time such as 1m30s", b)
	}
	*s = Span(d)
	return nil
}

// Devices is a set of devices by number, in order. Founders come first, 0 is
// the creator of the group; joiners follow. Its text lists numbers and ranges:
// "0-3 8".
type Devices []int

// some returns the devices from first to last.
func some(first, last int) Devices {
	var d Devices
	for i := first; i <= last; i++ {
		d = append(d, i)
	}
	return d
}

func (d Devices) has(i int) bool {
	_, ok := slices.BinarySearch(d, i)
	return ok
}

func (d Devices) String() string {
	var b strings.Builder
	for i := 0; i < len(d); {
		j := i
		for j+1 < len(d) && d[j+1] == d[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.Itoa(d[i]))
		if j > i {
			fmt.Fprintf(&b, "-%d", d[j])
		}
		i = j + 1
	}
	return b.String()
}

// MarshalText implements encoding.TextMarshaler.
func (d Devices) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Devices) UnmarshalText(b []byte) error {
	*d = nil
	for _, f := range strings.Fields(string(b)) {
		first, last, ranged := strings.Cut(f, "-")
		i, errA := strconv.ParseUint(first, 10, 16)
		j, errB := i, error(nil)
		if ranged {
			j, errB = strconv.ParseUint(last, 10, 16)
		}
		if errA != nil || errB != nil || j < i || j >= maxMembers {
			return fmt.Errorf("%q is neither the number of a device nor a range such as 0-3", f)
		}
		*d = append(*d, some(int(i), int(j))...)
	}
	slices.Sort(*d)
	if len(slices.Compact(slices.Clone(*d))) != len(*d) {
		return fmt.Errorf("%q names a device twice", b)
	}
	return nil
}
