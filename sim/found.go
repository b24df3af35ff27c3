package sim

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/node"
)

// formAtOnce founds the group beside the drivers: one commit adds all other
// founders, and each has the records of its join on its disk when it starts.
func (r *run) formAtOnce() {
	if err := r.foundAtOnce(); err != nil {
		r.fail(fmt.Errorf("sim: founding: %w", err))
	}
}

func (r *run) foundAtOnce() error {
	first := r.devices[0]
	g, out, err := group.Create(first.env(), r.engine, first.id, "sim", r.policy())
	if err != nil {
		return err
	}
	r.gid = g.ID()
	if err := first.found(r.gid, out.Batch); err != nil {
		return err
	}
	if r.Members > 1 {
		if err := r.addFounders(g); err != nil {
			return err
		}
	}
	for _, d := range r.devices[:r.Members] {
		if err := d.boot(); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) addFounders(g *group.Group) error {
	first, others := r.devices[0], r.devices[1:r.Members]
	change, err := r.keyPackages(others)
	if err != nil {
		return err
	}
	out, err := g.Step(first.env(), group.Change{Add: change})
	if err != nil {
		return err
	}
	if err := first.store.Commit(context.Background(), out.Batch); err != nil {
		return err
	}
	for _, b := range out.Publish {
		r.tap(b.Data, first, false)
	}
	for i, d := range others {
		r.welcomes[hex.EncodeToString(out.Welcomes[i].KeyPackageRef)] = out.Welcomes[i].Bundle
		_, joined, err := group.Join(d.env(), r.engine, d.id, out.Welcomes[i].Bundle, d.founding, nil)
		if err != nil {
			return err
		}
		d.founding.Wipe()
		d.founding = nil
		if err := d.found(r.gid, joined.Batch); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) keyPackages(of []*device) ([][]byte, error) {
	var out [][]byte
	for _, d := range of {
		kp, err := group.NewKeyPackage(d.env(), d.id)
		if err != nil {
			return nil, err
		}
		d.founding = kp
		out = append(out, kp.KeyPackage.Marshal())
	}
	return out, nil
}

// found writes the records of a group that the device's driver will load.
func (d *device) found(gid string, batch group.Batch) error {
	d.joined = true
	return d.store.Commit(context.Background(), append(batch, node.GroupRecord(gid)))
}
