package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	dmls "github.com/dmlsd/dmls"
)

var codeBlock = regexp.MustCompile("(?ms)^```(sh|go)\n(.*?)^```$")

// readmeBlocks returns the README's code blocks of a language.
func readmeBlocks(t *testing.T, language string) (blocks []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range codeBlock.FindAllStringSubmatch(string(b), -1) {
		if m[1] == language {
			blocks = append(blocks, m[2])
		}
	}
	return blocks
}

// Every command of the README runs, in order, in one directory, with this
// program as dmlsd.
func TestReadmeCommands(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	script := fmt.Sprintf("#!/bin/sh\nexec env %s=1 %q \"$@\"\n", asDaemon, os.Args[0])
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "dmlsd"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, dir: dir, path: bin + string(os.PathListSeparator) + os.Getenv("PATH")}
	ran := 0
	for _, block := range readmeBlocks(t, "sh") {
		for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
			switch {
			case line == "go run ./cmd/dmlsd demo":
				r.finish("dmlsd demo", "all is well")
			case line == "go test ./...":
				// This is what runs.
			case line == "go install ./cmd/dmlsd":
				if out, err := exec.Command("go", "list", "-f", "{{.Name}}", "../../cmd/dmlsd").Output(); err != nil || strings.TrimSpace(string(out)) != "main" {
					t.Errorf("%s: %q, %v", line, out, err)
				}
			case strings.HasSuffix(line, "&"):
				r.begin(strings.TrimSpace(strings.TrimSuffix(line, "&")), "ready")
			case strings.Contains(line, "tail"):
				r.begin(line, "Ben: hello, Ada")
			default:
				r.finish(line, "")
			}
			ran++
		}
	}
	if ran < 10 {
		t.Errorf("the README has %d command lines", ran)
	}
}

var link = regexp.MustCompile(`\]\(([^)#]+)`)

// Every link of the README leads somewhere.
func TestReadmeLinks(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range link.FindAllStringSubmatch(string(b), -1) {
		if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(m[1]))); err != nil && !strings.Contains(m[1], "://") {
			t.Errorf("the README links to nothing: %v", err)
		}
	}
}

// reader is somebody who types what the README says.
type reader struct {
	t         *testing.T
	dir, path string
}

func (r *reader) shell(line string) (*exec.Cmd, *syncBuffer) {
	cmd, out := exec.Command("sh", "-ec", line), &syncBuffer{}
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.dir, out, out
	cmd.Env = append(os.Environ(), "PATH="+r.path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	return cmd, out
}

// finish runs a line to its end and wants words in what it prints.
func (r *reader) finish(line, words string) {
	r.t.Helper()
	cmd, out := r.shell(line)
	if err := cmd.Run(); err != nil || !strings.Contains(out.String(), words) {
		r.t.Fatalf("%s: %v:\n%s", line, err, out)
	}
}

// begin starts a line that does not end and waits for words.
func (r *reader) begin(line, words string) {
	r.t.Helper()
	cmd, out := r.shell(line)
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // the line's own process group
		_ = cmd.Wait()
	})
	for begin := time.Now(); !strings.Contains(out.String(), words); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			r.t.Fatalf("%s: no %q in:\n%s", line, words, out)
		}
	}
}

// embed is the README's Go code, word by word.
func embed(ctx context.Context, home string, out io.Writer) error {
	n, err := dmls.Open(ctx, dmls.Config{Home: home, Name: "Ada"})
	if err != nil {
		return err
	}
	defer n.Close()
	gid, err := n.CreateGroup(ctx, "harbour") // or n.Join(ctx, ticket)
	if err != nil {
		return err
	}
	if _, err := n.Send(ctx, gid, "hello"); err != nil {
		return err
	}
	for ev, err := range n.Events(ctx, gid, 0, false) {
		fmt.Fprintln(out, ev.Kind, ev.Name, ev.Text, err)
	}
	return nil
}

func TestReadmeEmbed(t *testing.T) {
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := readmeBlocks(t, "go")
	if len(blocks) != 1 {
		t.Fatalf("the README has %d Go blocks", len(blocks))
	}
	code := "\t" + strings.ReplaceAll(strings.TrimSpace(blocks[0]), "\n", "\n\t")
	if !strings.Contains(string(source), code) {
		t.Errorf("the README's Go code is not what embed does:\n%s", code)
	}
	var out strings.Builder
	if err := embed(t.Context(), t.TempDir(), &out); err != nil || !strings.Contains(out.String(), "message Ada hello <nil>") {
		t.Errorf("%v, output %q", err, out.String())
	}
}
