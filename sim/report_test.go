package sim

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/internal/dagview"
)

// browsers that can load a page without a screen.
var browsers = []string{"chromium", "chromium-browser", "google-chrome"}

// The page tells of every commit, needs nothing from outside, and its script
// runs; and looking at a run does not change it.
func TestReport(t *testing.T) {
	t.Parallel()
	s := classes[2].Scenario(2)
	s.Name = `<b>"nested"</b>`
	html, res, err := Report(s)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Run(s)
	if err != nil || !bytes.Equal(plain.History, res.History) {
		t.Errorf("a run that is looked at is another run (%v)", err)
	}
	checkHTML(t, html)
	commits := regexp.MustCompile(`<g class="v k\d" tabindex="0" data-cid="([a-z0-9]+)"`).FindAllSubmatch(html, -1)
	if len(commits) < 6 {
		t.Fatalf("%d commits are drawn", len(commits))
	}
	for _, c := range checkers {
		if promises[c.name] == "" || !bytes.Contains(html, []byte("<td>"+c.name+"</td>")) {
			t.Errorf("the page does not tell of the checker %q", c.name)
		}
	}
	for _, want := range []string{"edge head", "edge soft", "isle i1", "class=\"said\"", "data-go=\"on\"", "distinct heads", "&lt;b&gt;", "members = "} {
		if !bytes.Contains(html, []byte(want)) {
			t.Errorf("no %q on the page", want)
		}
	}
	inBrowser(t, html, fmt.Sprintf(`data-ready="%d"`, len(commits)))
}

// checkHTML reads the page to its end as well-formed elements.
func checkHTML(t *testing.T, html []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(html))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	n := 0
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the page does not parse: %v", err)
		}
		if e, ok := tok.(xml.StartElement); ok {
			n++
			for _, a := range e.Attr {
				if a.Name.Local == "src" || a.Name.Local == "href" || strings.Contains(a.Value, "://") && a.Name.Local != "xmlns" {
					t.Errorf("<%s %s=%q> leads outside", e.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("%d elements", n)
	}
}

// inBrowser loads the page where there is a browser, and looks for what its
// script leaves behind.
func inBrowser(t *testing.T, html []byte, want string) {
	t.Helper()
	for _, b := range browsers {
		path, err := exec.LookPath(b)
		if err != nil {
			continue
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "report.html")
		if err := os.WriteFile(file, html, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), path, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+dir, "--dump-dom", "file://"+file)
		cmd.WaitDelay = time.Minute
		dom, err := cmd.Output()
		if err != nil {
			t.Logf("%s does not run here: %v", b, err)
			return
		}
		if !bytes.Contains(dom, []byte(want)) || !bytes.Contains(dom, []byte("<dt>commit</dt>")) {
			t.Errorf("the script of the page did not run: no %s", want)
		}
		return
	}
	t.Log("no browser at hand")
}

// A page about a thousand commits is of a size that loads at once, and leads from
// fork to fork.
func TestLongReport(t *testing.T) {
	t.Parallel()
	notes, a := map[string]commitNote{}, agreement{}
	for i := range 1000 {
		n := commitNote{CID: fmt.Sprintf("%08d", i), Epoch: uint64(i), By: "n01", At: momentText(time.Duration(i) * time.Second), Did: "update", Parent: a.head.Head}
		if i%40 == 20 {
			rival := n
			rival.CID, rival.By, rival.Rival, n.Rival = fmt.Sprintf("side%04d", i), "n02", "3 votes against 1", "3 votes against 1"
			notes[rival.CID] = rival
			up := notes[n.Parent]
			up.Fork = n.Rival
			notes[n.Parent] = up
		}
		notes[n.CID], a.head.Head = n, n.CID
	}
	for cid, n := range notes {
		n.Side = "on the head's chain"
		notes[cid] = n
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, &page{Title: "long", Commits: notes, Graph: template.HTML(dagview.SVG(graphOf(notes, a)))}); err != nil {
		t.Fatal(err)
	}
	checkHTML(t, b.Bytes())
	if b.Len() > 1<<20 {
		t.Errorf("%d bytes", b.Len())
	}
	inBrowser(t, b.Bytes(), `<span id="where">25 forks</span>`)
}

func TestTexts(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1.5: "1.5", 21.32: "21.3", 1050: "1,050", 12006.4: "12,006"} {
		if got := count(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
	for most, want := range map[float64]float64{1: 2, 2: 2, 3: 4, 1050.5: 1052} {
		if got := top(most); got != want {
			t.Errorf("the axis for %v ends at %v, want %v", most, got, want)
		}
	}
	for at, want := range map[time.Duration]string{1500 * time.Millisecond: "1.50 s", 1169900 * time.Millisecond: "1169.90 s (19:29)"} {
		if got := momentText(at); got != want {
			t.Errorf("%v is written %q, want %q", at, got, want)
		}
	}
}
