package sim

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
)

// measureChildren opens the rival commits of many members of one epoch and
// looks at what the epoch's PPRF has become.
func measureChildren(w io.Writer) error {
	fmt.Fprint(w, "Members of one epoch commit an update each, all beside each other, and another member takes all of\nthem up. *Step* is the time to do so, median per child, with the puncture, the child epoch and its\nrecords; *PPRF* is what is stored of the forked epoch's punctured tree, *secrets* all secret records\nof all epochs retained then.\n\n| members | children | step, median | PPRF | secrets |\n|--:|--:|--:|--:|--:|\n")
	for _, n := range []int{4, 16, 64, 256, 1000} {
		if err := childrenRows(w, n); err != nil {
			return err
		}
	}
	return nil
}

func childrenRows(w io.Writer, n int) error {
	authors := min(n-1, 64)
	world, err := newWorld(Scenario{Name: "children", Seed: 1, Members: authors + 1, After: 1})
	if err != nil {
		return err
	}
	groups, err := foundGroups(world, n, authors+1)
	if err != nil {
		return err
	}
	observer, env := groups[0], world.devices[0].env()
	var times []time.Duration
	for i, g := range groups[1:] {
		out, err := g.Step(world.devices[i+1].env(), group.Change{Update: true})
		if err != nil {
			return err
		}
		began := time.Now()
		got, err := observer.Step(env, group.Receive{Blocks: [][]byte{out.Publish[0].Data}, From: "x"})
		if err != nil {
			return err
		}
		times = append(times, time.Since(began))
		if v := got.Results[0].Verdict; v != group.Applied && v != group.Forked {
			return fmt.Errorf("child %d of an epoch of %d members: verdict %d, %w", i+1, n, v, got.Results[0].Reason)
		}
		if k := i + 1; k&(k-1) == 0 || k == authors {
			sorted := slices.Sorted(slices.Values(times))
			nodes := 0
			for _, r := range observer.Records() {
				if strings.Contains(r.Key, "/p/") {
					nodes += len(r.Value)
				}
			}
			if _, err := fmt.Fprintf(w, "| %d | %d | %.2f ms | %s | %s |\n", n, k, sorted[len(sorted)/2].Seconds()*1000,
				bytesText(float64(nodes)), bytesText(float64(observer.Status().RetainedBytes))); err != nil {
				return err
			}
		}
	}
	return nil
}

// foundGroups founds a group of n members and joins those that the world has
// devices for.
func foundGroups(w *world, n, joined int) ([]*group.Group, error) {
	first := w.devices[0]
	g, _, err := group.Create(first.env(), w.engine, first.id, "children", group.PolicyOpen)
	if err != nil {
		return nil, err
	}
	packages := make([]*mls.KeyPackageBundle, n-1)
	var change group.Change
	for i := range packages {
		var d *device
		if i+1 < joined {
			d = w.devices[i+1]
		} else if d, err = newDevice(w, 10_000+i); err != nil {
			return nil, err
		}
		if packages[i], err = group.NewKeyPackage(d.env(), d.id); err != nil {
			return nil, err
		}
		change.Add = append(change.Add, packages[i].KeyPackage.Marshal())
	}
	out, err := g.Step(first.env(), change)
	if err != nil {
		return nil, err
	}
	groups := []*group.Group{g}
	for i := range joined - 1 {
		d := w.devices[i+1]
		j, _, err := group.Join(d.env(), w.engine, d.id, out.Welcomes[i].Bundle, packages[i], nil)
		if err != nil {
			return nil, err
		}
		groups = append(groups, j)
	}
	return groups, nil
}
