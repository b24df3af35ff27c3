package sim

import (
	"maps"

	"github.com/dmlsd/dmls/node"
)

// attackKind is a way of misbehaving that a scenario can name.
type attackKind struct {
	about  string
	params map[string]float64 // with their usual values
	make   func(Adversary) attack
}

// usual fills in the parameters that a scenario leaves out.
func (a Adversary) usual() Adversary {
	with := maps.Clone(attacks[a.Name].params)
	maps.Copy(with, a.With)
	a.With = with
	return a
}

// attack is what an adversary does with the device in its hands. The workload
// leaves the device alone, and the checkers ask nothing of it.
type attack interface {
	// begin is called once the group is formed. It plans the attack with
	// run.at, and may set the hooks of the device. Whatever it draws comes from a
	// stream of its own.
	begin(r *run, d *device)
}

// hooks let an adversary see and change what passes its device's network port; a
// nil function changes nothing.
type hooks struct {
	out func(topic string, block []byte) (blocks [][]byte) // to gossip
	in  func(in node.Input) (inputs []node.Input)
}
