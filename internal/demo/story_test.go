package demo

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/internal/dagview"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// tell plays a few events of two devices.
func tell(s *story) {
	s.chapter("They chat")
	s.say("", "%d devices", 2)
	hello := group.Event{Cursor: 2, Kind: group.KindMessage, ID: "01", Name: "Ada", Text: "hi\x1b[2J\nall", Epoch: 1, Head: "bafkreione11111"}
	mine := hello
	mine.Mine = true
	s.hear("Ada", mine)
	s.hear("Ben", hello)
	commit := group.Event{Kind: group.KindCommit, CID: "bafkreitwo22222", Head: "bafkreione11111", Epoch: 2, Actions: []string{"update"}, Mine: true}
	punctured := group.Event{Kind: group.KindPunctured, CID: "bafkreitwo22222", Head: "bafkreione11111", Epoch: 1, Count: 510}
	s.hear("Ada", commit)
	s.hear("Ada", punctured)
	s.detail(true)
	commit.Mine = false
	s.hear("Ben", commit)
	s.hear("Ben", punctured)
	fork := group.Event{Kind: group.KindForkOpened, Fork: "bafkreione11111", Winner: "bafkreitwo22222", Losers: []string{"bafkreilost3333"}, Epoch: 1, Why: "Ada and Ben against Eve"}
	s.hear("Ada", fork)
	s.hear("Ben", fork)
	s.hear("Ben", fork)
	fork.Kind = group.KindForkResolved
	s.hear("Ada", fork)
	s.hear("Ben", fork)
	s.hear("Eve", group.Event{Kind: group.KindEpoch, Fork: "bafkreione11111", Winner: "bafkreitwo22222", Losers: []string{"bafkreilost3333"}, Epoch: 2, Head: "bafkreitwo22222"})
	s.hear("Ada", group.Event{Kind: group.KindEpoch, Epoch: 2, Head: "bafkreitwo22222"})
	erased := group.Event{Kind: group.KindErased, Head: "bafkreione11111", Epoch: 1, Count: 40, Why: "final"}
	s.hear("Ada", erased)
	s.hear("Ben", erased)
	s.hear("Ada", group.Event{Kind: group.KindMerge, CID: "bafkreimerge444", Epoch: 3, Losers: []string{"bafkreilost3333"}, Actions: []string{"add Finn", "merge"}})
	s.hear("Finn", group.Event{Kind: group.KindStranded, Why: "the branch lost"})
	s.hear("Finn", group.Event{Kind: group.KindRejoined, Epoch: 3, Head: "bafkreimerge444"})
	s.dag(api.DAG{Vertices: []dagview.Vertex{{CID: "bafkreione11111", AuthorName: "Ada", OnHead: true, Head: true}}})
	s.table([]row{{Name: "Ada", State: "member", Head: "bafkreimerge444", Epoch: 3, Members: 3, Messages: 1, Epochs: 1, Secrets: 30, Authenticator: "0123456789"}})
	s.sums()
	s.result(result{OK: true, HealSeconds: 1.5, Seconds: 20, Messages: 1})
	s.result(result{Faults: []string{"Eve is lost"}})
}

var clock = regexp.MustCompile(`(?m)^ *[0-9]+\.[0-9]+s|"t":[0-9.]+`)

func TestStory(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		tell(newStory(&out, asJSON))
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("an escape reaches the terminal: %q", out.String())
		}
		name, got := "story.txt", clock.ReplaceAllString(out.String(), "T")
		if asJSON {
			name = "story.jsonl"
			for _, l := range strings.Split(strings.TrimSpace(out.String()), "\n") {
				if !json.Valid([]byte(l)) {
					t.Errorf("%q is no JSON", l)
				}
			}
		}
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs (rewrite with -update):\n%s", name, got)
		}
	}
}
