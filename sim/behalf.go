package sim

import (
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"
)

// onBehalf lists whom commits of honest members on the head's chain put out though
// none of them had asked for it: on behalf of an adversary who was no member any more
// when it was done. What somebody who was ejected did takes nobody along (design,
// section 5.5).
func (w *world) onBehalf(known referee, deeds []deed, bad map[string]bool, head string) []string {
	honest, ids := map[string]bool{}, map[string]string{}
	for _, d := range w.devices {
		ids[d.key()] = d.name
	}
	for _, d := range deeds {
		if d.remove && !bad[d.by] {
			honest[d.of] = true
		}
	}
	r := &reference{root: known.root, commits: known.commits}
	var out []string
	for at := head; at != known.root.at; {
		c, ok := known.commits[at]
		up, err := cid.Cast(c.Parent)
		if !ok || err != nil {
			break // nobody wrote it down: before the founding was over
		}
		for _, m := range c.Removed {
			key := incarnation(m).key()
			if bad[incarnation(c.Author).key()] || bad[key] || honest[key] || ids[key] == "" || c.adds(key) {
				continue
			}
			if members, _ := r.roster(up.String()); !slices.ContainsFunc(deeds, func(d deed) bool {
				return d.remove && d.of == key && has(members, d.by)
			}) {
				out = append(out, fmt.Sprintf("%s was put out by %s for one who was not there any more", ids[key], tail(at)))
			}
		}
		at = up.String()
	}
	return out
}

// adds reports whether the commit adds the key: then it is only replaced.
func (d deltas) adds(key string) bool {
	return slices.ContainsFunc(d.Added, func(m []byte) bool { return incarnation(m).key() == key })
}

func has(members map[uint32]incarnation, key string) bool {
	for _, m := range members {
		if m.key() == key {
			return true
		}
	}
	return false
}
