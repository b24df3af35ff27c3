package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dmlsd/dmls/sim"
)

// smallSim is a quick run: a calm network and little to do.
const smallSim = "--members 4 --joiners 0 --crashes 0 --messages 20 --commits 2 --before 2s --apart 8s"

func TestSimRun(t *testing.T) {
	t.Parallel()
	s := shell{t: t, home: filepath.Join(t.TempDir(), "none")} // needs no home
	file := filepath.Join(t.TempDir(), "history.txt")
	run := func(args string) (int, string, string) {
		return s.run(append([]string{"sim", "run"}, strings.Fields(args)...)...)
	}
	code, out, talk := run("--seed 3 " + smallSim + " --history " + file)
	if code != 0 || !strings.Contains(out, "converged   1\n") || !strings.Contains(out, "violations  0\n") || talk != "" {
		t.Fatalf("exit code %d, %q, %q", code, out, talk)
	}
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	code, out, talk = run("--seeds 3..5 --parallel 2 " + smallSim + " --json --history " + file)
	if code != 0 || !strings.Contains(talk, "3 of 3 runs: 3 converged, 0 vacuous, 0 with violations\n") {
		t.Fatalf("exit code %d, %q", code, talk)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, `{"runs":3,"converged":3,"vacuous":0,"stranded":0,"forks":`) || !strings.Contains(last, `"messages":60,"violations":[]`) || !json.Valid([]byte(last)) {
		t.Errorf("the last line is %s", last)
	}
	all, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(all, first) || len(all) < 2*len(first) {
		t.Errorf("a history of %d bytes for three seeds does not begin with the %d bytes of the first one alone", len(all), len(first))
	}
	if code, out, _ = run("--seed 3 --messages 3 " + strings.Replace(smallSim, "--messages 20 ", "", 1) + " --json"); code != 0 || !strings.Contains(out, `"converged":0,"vacuous":1`) {
		t.Errorf("a vacuous run: %d, %q", code, out)
	}
}

// A run that breaks a promise says which, what happened last and how to see it
// again. One second is too little to converge in.
func TestSimViolation(t *testing.T) {
	t.Parallel()
	s := shell{t: t, home: t.TempDir()}
	code, out, talk := s.run(strings.Fields("sim run --seed 3 --after 1s --json " + smallSim)...)
	if code != 1 || !strings.Contains(out, `"violations":["seed 3: convergence: `) {
		t.Errorf("exit code %d, %q", code, out)
	}
	for _, want := range []string{
		"seed 3\n  violation  convergence: ", "  |     ", " wire ",
		"  replay     dmlsd sim replay --members 4 --joiners 0 --messages 20 --commits 2 --crashes 0 --before 2s --apart 8s --after 1s --seed 3\n",
		"dmlsd: error: 1 of 1 runs broke a promise",
	} {
		if !strings.Contains(talk, want) {
			t.Errorf("no %q in %s", want, talk)
		}
	}
}

func TestSimUsage(t *testing.T) {
	t.Parallel()
	s := shell{t: t, home: t.TempDir()}
	for args, want := range map[string]string{
		"--members 1":                "1 members",
		"--scenario none":            "no such scenario",
		"--scenario plain --loss 0":  "scenario",
		"--loss 0.9":                 "loss 0.9",
		"--seeds 5..1":               "A at most B",
		"--seeds 5":                  "not A..B",
		"--seeds a..b":               "not A..B",
		"--seed 1 --seeds 1..2":      "seeds",
		"--parallel 0":               "--parallel",
		"--history /none/there/file": "cannot write the history",
		"--apart long":               "apart",
		"now":                        "unknown command",
	} {
		code, out, talk := s.run(append([]string{"sim", "run"}, strings.Fields(args)...)...)
		if code == 0 || out != "" || !strings.Contains(talk, want) || !strings.HasPrefix(talk, "dmlsd: error: ") {
			t.Errorf("%s: exit code %d, %q, %q, want %q", args, code, out, talk, want)
		}
	}
}

// The command that a failure prints runs the same scenario again, whatever it
// was made from.
func TestSimReplay(t *testing.T) {
	t.Parallel()
	s := shell{t: t, home: t.TempDir()}
	file := filepath.Join(t.TempDir(), "mine.toml")
	plain := sim.DefaultPlain()
	plain.Members, plain.Joiners, plain.Messages, plain.Apart = 4, 0, 21, plain.Apart/4
	scenario := plain.Scenario(5)
	b, err := scenario.TOML()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range []func(uint64) sim.Scenario{plain.Scenario, scenario.Seeded(file)} {
		want := from(5)
		res, err := sim.Run(want)
		if err != nil {
			t.Fatal(err)
		}
		args := strings.Fields(want.Replay())
		if code, out, talk := s.run(args[1:]...); code != 0 || out != string(res.History) {
			t.Errorf("%s: exit code %d, %q, %d bytes, want %d", want.Replay(), code, talk, len(out), len(res.History))
		}
	}
}

// What minimize prints is the command that breaks the same promise with what is
// left.
func TestSimMinimize(t *testing.T) {
	t.Parallel()
	s := shell{t: t, home: t.TempDir()}
	file := filepath.Join(t.TempDir(), "small.toml")
	code, out, talk := s.run(strings.Fields("sim minimize --seed 3 --after 1s --runs 25 " + smallSim + " --out " + file)...)
	said, found := strings.CutPrefix(out, "violation   ")
	said, rest, _ := strings.Cut(said, "\nleft        ")
	left, replay, _ := strings.Cut(rest, "\nreplay      dmlsd ")
	if code != 0 || !found || !strings.HasPrefix(said, "convergence: ") || !strings.Contains(talk, " runs: "+left) {
		t.Fatalf("exit code %d, %q, %q", code, out, talk)
	}
	code, out, talk = s.run(strings.Fields(replay)...)
	if code != 1 || !strings.Contains(out, " VIOLATION "+said+"\n") || !strings.Contains(talk, said) {
		t.Errorf("%s: exit code %d, %q", replay, code, talk)
	}
}

// Wrong input to minimize is told before anything is run, and leaves no file.
func TestSimMinimizeUsage(t *testing.T) {
	t.Parallel()
	s := shell{t: t, home: t.TempDir()}
	dir := t.TempDir()
	file := filepath.Join(dir, "small.toml")
	for args, want := range map[string]string{
		"--runs 0 --out " + file:                   "--runs and --parallel must be 1 or more",
		"--parallel 0 --out " + file:               "--runs and --parallel must be 1 or more",
		"--out " + filepath.Join(dir, "none", "x"): "cannot write the scenario",
		"--out " + dir:                             "cannot write the scenario",
		"--scenario none --out " + file:            "no such scenario",
		"--seed 3 " + smallSim + " --out " + file:  "nothing to shrink: seed 3 breaks no promise",
	} {
		if code, _, talk := s.run(append([]string{"sim", "minimize"}, strings.Fields(args)...)...); code == 0 || !strings.Contains(talk, want) {
			t.Errorf("%s: exit code %d, %q", args, code, talk)
		}
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%s: leaves a file", args)
		}
	}
}
