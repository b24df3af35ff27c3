package sim

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Every complaint of Validate, each by its cause.
func TestValidate(t *testing.T) {
	for want, change := range map[string]func(*Scenario){
		"1 members":               func(s *Scenario) { s.Members = 1 },
		"999 members":             func(s *Scenario) { s.Members = 999 },
		"-1 joiners":              func(s *Scenario) { s.Joiners = -1 },
		"found":                   func(s *Scenario) { s.Found = "never" },
		"policy":                  func(s *Scenario) { s.Policy = "tyranny" },
		"rule":                    func(s *Scenario) { s.Rule = "coin" },
		"after":                   func(s *Scenario) { s.After = 0 },
		"topology":                func(s *Scenario) { s.Network.Topology = "tree" },
		"latency":                 func(s *Scenario) { s.Network.MaxLatency = s.Network.MinLatency - 1 },
		"loss 0.6":                func(s *Scenario) { s.Network.Loss = 0.6 },
		"duplicate 1.5":           func(s *Scenario) { s.Network.Duplicate = 1.5 },
		"reorder -1":              func(s *Scenario) { s.Network.Reorder = -1 },
		"sync -1ns":               func(s *Scenario) { s.Network.Sync = -1 },
		"skew":                    func(s *Scenario) { s.Skew = -1 },
		"MaxEpochs -1":            func(s *Scenario) { s.Engine.MaxEpochs = -1 },
		"partition 1: from":       func(s *Scenario) { s.Partitions[0].Until = s.Partitions[0].At },
		"partition 1: down":       func(s *Scenario) { s.Partitions[0].Down = 1 },
		"partition 1: no islands": func(s *Scenario) { s.Partitions[0].Islands = nil },
		"device 0 is on two":      func(s *Scenario) { s.Partitions[0].Islands = []Devices{{0, 1}, {0}} },
		"device 10 is on two":     func(s *Scenario) { s.Partitions[0].Islands = []Devices{{10}} },
		"load 1: from":            func(s *Scenario) { s.Loads[0].Until = 0 },
		"load 1: either":          func(s *Scenario) { s.Loads[0].PerMinute = 1 },
		"load 1: a clock":         func(s *Scenario) { s.Loads[0].Do = Clock },
		"load 1: do \"sing\"":     func(s *Scenario) { s.Loads[0].Do = "sing" },
		"event 1: at":             func(s *Scenario) { s.Events = []Event{{Do: Say, At: -1}} },
		"event 1: how":            func(s *Scenario) { s.Events = []Event{{Do: Crash, How: "badly"}} },
		"event 1: a shift":        func(s *Scenario) { s.Events = []Event{{Do: Clock}} },
		"event 1: there is no":    func(s *Scenario) { s.Events = []Event{{Do: Say, By: Devices{10}}} },
		"adversary 1: name":       func(s *Scenario) { s.Adversaries = []Adversary{{Name: "saint"}} },
	} {
		s := Default(1)
		change(&s)
		if err := s.Validate(); !errors.Is(err, ErrScenario) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
		if _, err := Run(s); !errors.Is(err, ErrScenario) {
			t.Errorf("%s was run: %v", want, err)
		}
	}
}

// What the classes draw and the examples say makes sense and survives TOML.
func TestTOML(t *testing.T) {
	for _, name := range Names() {
		of, err := Named(name)
		if err != nil || of == nil {
			t.Fatalf("%s: %v", name, err)
		}
		for seed := uint64(1); seed <= 20; seed++ {
			s := of(seed)
			if err := s.Validate(); err != nil {
				t.Fatalf("%s, seed %d: %v", name, seed, err)
			}
			b, err := s.TOML()
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse(b)
			if err != nil {
				t.Fatalf("%s, seed %d: %v in\n%s", name, seed, err, b)
			}
			again.Source = s.Source
			if !reflect.DeepEqual(s, again) {
				t.Fatalf("%s, seed %d: wrote\n%s\nread %+v, want %+v", name, seed, b, again, s)
			}
		}
	}
}

// The examples, but for the large ones, which take a minute each, do what they say.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := examples.ReadDir("scenarios")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".toml")
		if strings.HasPrefix(name, "crowd-") || name == "thousand-commits" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			of, err := Named(name)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Run(of(1))
			if err != nil {
				t.Fatal(err)
			}
			if !passes(r) || r.Vacuous != "" {
				t.Errorf("vacuous %q, %q\nreplay: %s", r.Vacuous, r.Violations, r.Scenario.Replay())
			}
		})
	}
}

// A mistake in a file is told with its line.
func TestParseErrors(t *testing.T) {
	head := "members = 4\nafter = '1m'\n"
	for text, want := range map[string]string{
		"[[event]]\nat = '1s'\nwho = '3'\n":                   `line 5: no key "event.who"`,
		"speed = 3\n":                                         `line 3: no key "speed"`,
		"[[partition]]\nislands = ['0-2', '2-0']\n":           `line 4`,
		"[[event]]\ndo = 'say'\nat = 'soon'\n":                "line 5",
		"[[event]]\ndo = 'say'\nat = '1s'\nby = '1 1'\n":      `names a device twice`,
		"[[event]]\ndo = 'say'\nat = '1s'\nby = '99999999'\n": "neither the number",
		"seed = -1\n":                         "line 3",
		"members = 5\n":                       "line 3",
		"[[event]]\ndo = 'sing'\nat = '1s'\n": "event 1: do",
	} {
		if _, err := Parse([]byte(head + text)); !errors.Is(err, ErrScenario) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// A scenario whose loads are spelled out as events gives the same run.
func TestExpand(t *testing.T) {
	t.Parallel()
	p := DefaultPlain()
	p.Members, p.Joiners, p.Messages, p.Apart = 4, 1, 21, 8*time.Second
	s := p.Scenario(3)
	out := s.Expand()
	if len(out.Loads) != 0 || len(out.Events) != 28 {
		t.Fatalf("%d loads and %d events", len(out.Loads), len(out.Events))
	}
	a, err := Run(s)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Run(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.History, b.History) {
		t.Error("two histories")
	}
}

func TestDevices(t *testing.T) {
	for text, want := range map[string]Devices{"": nil, "0": {0}, "0-2 5 7-8": {0, 1, 2, 5, 7, 8}, "5 1-2": {1, 2, 5}} {
		var d Devices
		if err := d.UnmarshalText([]byte(text)); err != nil || !reflect.DeepEqual(d, want) {
			t.Errorf("%q is %v, %v", text, d, err)
		}
		var again Devices
		if err := again.UnmarshalText([]byte(d.String())); err != nil || !reflect.DeepEqual(again, d) {
			t.Errorf("%q came back as %v, %v", d, again, err)
		}
	}
}

// The scenario comes to a re-add of a device that could not catch up, in every
// run: where it does not, the run is vacuous.
func TestTooStale(t *testing.T) {
	t.Parallel()
	of, err := Named("too-stale")
	if err != nil {
		t.Fatal(err)
	}
	for seed := uint64(1); seed <= 3; seed++ {
		r, err := Run(of(seed))
		if err != nil {
			t.Fatal(err)
		}
		if !r.Converged || r.Vacuous != "" || len(r.Violations) > 0 {
			t.Errorf("seed %d: %q, %s", seed, r.Vacuous, strings.Join(r.Violations, "\n\t"))
		}
	}
}
