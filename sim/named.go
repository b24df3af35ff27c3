package sim

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
)

//go:embed scenarios/*.toml
var examples embed.FS

// Names lists the scenarios that [Named] knows: "suite", which gives every
// class its turn, the classes, and the examples in sim/scenarios.
func Names() []string {
	names := []string{"suite"}
	for _, c := range slices.Concat(classes, Sieges()) {
		names = append(names, c.Name)
	}
	files, _ := examples.ReadDir("scenarios") // embedded
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".toml"))
	}
	return names
}

// Named returns the scenarios of a name, one for each seed; nil if there is
// none of that name. An error is one in an example.
func Named(name string) (func(seed uint64) Scenario, error) {
	if name == "suite" {
		return Suite, nil
	}
	all := slices.Concat(classes, Sieges())
	if i := slices.IndexFunc(all, func(c Class) bool { return c.Name == name }); i >= 0 {
		return all[i].Scenario, nil
	}
	b, err := examples.ReadFile(path.Join("scenarios", name+".toml"))
	if err != nil {
		return nil, nil
	}
	s, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s.Seeded(name), nil
}

// Seeded is the scenario with other seeds. ref is how it is asked for on the
// command line.
func (s Scenario) Seeded(ref string) func(seed uint64) Scenario {
	return func(seed uint64) Scenario {
		s := s
		s.Seed, s.Source = seed, []string{"--scenario", ref}
		return s
	}
}
