package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dmlsd/dmls/group"
)

func phrase(p string) Sealing {
	return Sealing{Passphrase: func() ([]byte, error) { return []byte(p), nil }}
}

// TestSealing founds a store under each sealing, opens it with and without what
// it takes, and changes the sealing.
func TestSealing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	file, other := filepath.Join(t.TempDir(), "key"), filepath.Join(t.TempDir(), "other")
	for _, f := range []string{file, other} {
		if err := CreateKeyFile(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := CreateKeyFile(file); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a key file is replaced: %v", err)
	}
	refuse := func(what string, with Sealing, want error) {
		t.Helper()
		before := readTree(t, dir)
		_, err := Open(t.Context(), Options{Dir: dir, Sealing: with})
		if !errors.Is(err, want) || strings.Contains(err.Error(), "\n") {
			t.Fatalf("%s: %v, want %v", what, err, want)
		}
		if after := readTree(t, dir); !bytes.Equal(after[rootFile], before[rootFile]) {
			t.Fatalf("%s: the root file was changed", what)
		}
	}
	put := []group.Op{{Key: "d/1", Value: []byte("x"), Class: group.Secret}}
	o := Options{Dir: dir, EraseInterval: EraseNow, work: 4}
	use := func(with Sealing, name string, next *Sealing) {
		t.Helper()
		o.Sealing = with
		s := openErase(t, o)
		defer s.Close()
		if st := s.Status(); st.Sealing != name {
			t.Fatalf("sealing is %q, want %q", st.Sealing, name)
		}
		if err := s.Commit(t.Context(), put); err != nil {
			t.Fatal(err)
		}
		plain := false
		for file, b := range readTree(t, dir) {
			plain = plain || file == rootFile && bytes.Contains(b, s.current.root[:])
		}
		if plain != (name == "none") {
			t.Fatalf("sealed with %s, is the root key in plaintext: %v", name, plain)
		}
		if next != nil {
			if err := s.Reseal(t.Context(), *next); err != nil {
				t.Fatal(err)
			}
		}
		if v, err := s.Get(t.Context(), "d/1"); err != nil || string(v) != "x" {
			t.Fatalf("%q, %v", v, err)
		}
	}
	right, byFile := phrase("correct horse"), Sealing{KeyFile: file}
	use(Sealing{}, "none", &right)
	refuse("no passphrase", Sealing{}, ErrSealed)
	refuse("a wrong passphrase", phrase("wrong"), ErrWrongKey)
	refuse("an empty passphrase", phrase(""), ErrWrongKey)
	refuse("a key file", byFile, ErrSealed)
	refuse("a failing prompt", Sealing{Passphrase: func() ([]byte, error) { return nil, errFault }}, errFault)
	use(right, "passphrase", nil)
	again := phrase("battery staple")
	use(right, "passphrase", &again)
	refuse("the former passphrase", right, ErrWrongKey)
	use(again, "passphrase", &byFile)
	if m, _ := filepath.Glob(filepath.Join(dir, sealFile+"*")); len(m) > 0 {
		t.Errorf("%v was left", m)
	}
	refuse("no key file", Sealing{}, ErrSealed)
	refuse("another key file", Sealing{KeyFile: other}, ErrWrongKey)
	refuse("a missing key file", Sealing{KeyFile: file + "x"}, ErrSealed)
	refuse("no key file at all", Sealing{KeyFile: filepath.Join(dir, "mark")}, ErrWrongKey)
	use(byFile, "key file", &Sealing{})
	use(Sealing{}, "none", nil)

	for _, with := range []Sealing{phrase("new"), byFile} {
		dir = filepath.Join(t.TempDir(), "home")
		o.Dir = dir
		use(with, map[bool]string{true: "key file", false: "passphrase"}[with.KeyFile != ""], nil)
		use(with, map[bool]string{true: "key file", false: "passphrase"}[with.KeyFile != ""], nil)
		refuse("nothing", Sealing{}, ErrSealed)
	}
	if _, err := Open(t.Context(), Options{Dir: dir, Sealing: Sealing{KeyFile: file, Passphrase: right.Passphrase}}); !errors.Is(err, ErrOptions) {
		t.Errorf("two sealings: %v", err)
	}
}

// TestResealCrash stops a change of the passphrase at every point: one of the
// two opens the store.
func TestResealCrash(t *testing.T) {
	for at := 1; ; at++ {
		dir := filepath.Join(t.TempDir(), "home")
		o := Options{Dir: dir, Sealing: phrase("old"), work: 4}
		s := openErase(t, o)
		n := 0
		s.hook = func(string) error {
			if n++; n == at {
				return errFault
			}
			return nil
		}
		err := s.Reseal(t.Context(), phrase("new"))
		s.Close()
		o2 := o
		o2.Sealing = phrase("new")
		opened := 0
		for _, x := range []Options{o, o2} {
			if s, err := Open(t.Context(), x); err == nil {
				s.Close()
				opened++
			} else if !errors.Is(err, ErrWrongKey) {
				t.Fatalf("point %d: %v", at, err)
			}
		}
		if opened != 1 {
			t.Fatalf("point %d: %d of the two passphrases open the store", at, opened)
		}
		if err == nil {
			return
		}
	}
}

// readTree reads all files below dir.
func readTree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err == nil {
			files[rel], err = os.ReadFile(path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return files
}

// TestRedacted: keys do not print.
func TestRedacted(t *testing.T) {
	k := secret{0xab, 0xcd}
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%x %v %+v %#v %s %q %d", k, k, k, k, k, k, k),
		fmt.Sprintf("%v %+v %x %v %v", &generation{root: k}, node{keys: [fanOut]secret{k}}, []change{{key: k}}, &sealer{key: k},
			slot{key: k[:]}), k.LogValue().String()} {
		if strings.Contains(s, "ab") || strings.Contains(s, "171") {
			t.Errorf("a key prints as %q", s)
		}
	}
	if k.wipe(); k != (secret{}) {
		t.Error("a wiped key is still there")
	}
}

// TestCheck looks at a good store, an unclosed one and damaged ones, and changes
// none of them.
func TestCheck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	s := openInside(t, dir)
	commit := func() {
		for _, v := range []byte{1, 2} {
			if err := s.Commit(t.Context(), largeBatch(v)); err != nil {
				t.Fatal(err)
			}
		}
	}
	commit()
	if _, err := Check(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Fatalf("Check of a store in use: %v", err)
	}
	shutInside(t, s)
	look := func(findings, notes int) Report {
		t.Helper()
		before := readTree(t, dir)
		r, err := Check(t.Context(), Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		after := readTree(t, dir)
		for name, b := range before {
			if !bytes.Equal(b, after[name]) {
				t.Errorf("Check changed %s", name)
			}
		}
		if len(after) != len(before) {
			t.Errorf("%d files after %d", len(after), len(before))
		}
		if len(r.Findings) != findings || len(r.Notes) != notes {
			t.Fatalf("findings %q, notes %q, want %d and %d", r.Findings, r.Notes, findings, notes)
		}
		return r
	}
	if r := look(0, 0); r.Records == 0 || r.Keys == 0 || r.Nodes == 0 || r.Format != formatVersion {
		t.Errorf("%+v", r)
	}
	s = openInside(t, dir)
	commit()
	s.breakOn(errFault) // Close then writes nothing
	s.Close()
	if r := look(0, 1); r.Pending == 0 {
		t.Errorf("%+v", r)
	}
	s = openInside(t, dir)
	txn := s.db.NewTransaction(false)
	b, err := get(txn, recordKey("d/v"))
	txn.Discard()
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := s.write([]entry{{key: recordKey("d/v"), value: b}, {key: partKey("d/none", 1), value: b}}); err != nil {
		t.Fatal(err)
	}
	shutInside(t, s)
	look(3, 0) // the record, the part, the key without a record
	if err := os.Chmod(filepath.Join(dir, rootFile), 0o644); err != nil {
		t.Fatal(err)
	}
	look(4, 0)
	if err := os.Remove(filepath.Join(dir, rootFile)); err != nil {
		t.Fatal(err)
	}
	look(1, 0)
}

func TestWipe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	s := openErase(t, Options{Dir: dir, Sealing: phrase("x"), work: 4})
	if err := Wipe(dir); !errors.Is(err, ErrLocked) {
		t.Fatalf("Wipe of a store in use: %v", err)
	}
	shutInside(t, s)
	root, err := os.Open(filepath.Join(dir, rootFile)) // as a thief would keep it
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := Wipe(dir); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, slotCount*slotStride)
	if _, err := root.ReadAt(b, 0); err != nil || !bytes.Equal(b, make([]byte, len(b))) {
		t.Error("the root key was not overwritten")
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", dir, err)
	}
}
