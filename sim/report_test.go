package sim

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
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
	for _, want := range []string{"edge head", "edge soft", "isle i1", "class=\"said\"", "distinct heads", "&lt;b&gt;", "members = "} {
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
