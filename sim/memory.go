package sim

import (
	"fmt"

	"github.com/dmlsd/dmls/group"
)

// limit is a cap of something that an engine keeps.
type limit struct {
	what string
	of   func(group.Held) int
	most func(c group.Config, devices int) int
}

// limits are those that the configuration and the comments of package group
// promise; they are written down here once more, so that an engine which changes
// one is found out.
var limits = []limit{
	{"epochs", func(h group.Held) int { return h.Epochs }, func(c group.Config, _ int) int { return c.MaxEpochs }},
	{"epochs of other branches", func(h group.Held) int { return h.OldEpochs }, func(c group.Config, _ int) int { return c.MaxEpochs }},
	{"bytes of parked frames", func(h group.Held) int { return h.ParkedBytes }, func(c group.Config, _ int) int { return c.MaxParked }},
	{"parked frames of one peer", func(h group.Held) int { return h.ParkedPeer }, func(c group.Config, _ int) int { return c.MaxParkedPeer }},
	{"parked frames", func(h group.Held) int { return h.Parked }, func(c group.Config, n int) int { return c.MaxParkedPeer * n }},
	{"entries of waiting lists without a frame", func(h group.Held) int { return h.Strays }, func(group.Config, int) int { return 0 }},
	{"refused blocks", func(h group.Held) int { return h.Rejected }, func(c group.Config, _ int) int { return c.RejectCache }},
	{"blocks that unread frames link to", func(h group.Held) int { return h.Asked }, fixed(1024)},
	{"blocks before the base", func(h group.Held) int { return h.AskedSeeds }, fixed(1024)},
	{"copies of one text", func(h group.Held) int { return h.Copies }, fixed(8)},
	{"own offers", func(h group.Held) int { return h.Rejoins }, fixed(4)},
	{"offers of others", func(h group.Held) int { return h.Offers }, perDevice}, // one of each
	{"words of members", func(h group.Held) int { return h.Words }, perDevice},  // likewise
	{"members who seem to be elsewhere", func(h group.Held) int { return h.Hints }, perStay},
	{"bases beside the present one", func(h group.Held) int { return h.Rivals }, fixed(32)},
	{"signals", func(h group.Held) int { return h.Relayed }, fixed(4096)},
}

func fixed(n int) func(group.Config, int) int { return func(group.Config, int) int { return n } }

// perStay allows for a few incarnations of each device.
func perStay(_ group.Config, devices int) int { return 4 * devices }

func perDevice(_ group.Config, devices int) int { return devices }

// weigh notes the most that the device's engine held of each, after each of its
// steps. Nobody notices.
func (d *device) weigh() {
	if d.attack != nil || d.world.meter != nil {
		return
	}
	h, err := d.driver.Held(d.world.gid)
	if err != nil {
		return // it is not in the group
	}
	if d.most == nil {
		d.most = make([]int, len(limits))
	}
	for i, l := range limits {
		d.most[i] = max(d.most[i], l.of(h))
	}
}

// checkMemory: whatever somebody sends, what is kept stays within the caps of the
// engine at any time.
func checkMemory(e *evidence, _ agreement) []string {
	c := e.scenario.config()
	var out []string
	for _, w := range e.witnesses {
		for i, got := range w.most {
			if most := limits[i].most(c, e.scenario.devices()+e.puppets); got > most {
				out = append(out, fmt.Sprintf("%s kept %d %s, at most %d", w.name, got, limits[i].what, most))
			}
		}
	}
	return out
}
