package sim

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// Every key of the schema is in its description.
func TestSchemaIsDocumented(t *testing.T) {
	b, err := os.ReadFile("scenarios/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(of reflect.Type)
	walk = func(of reflect.Type) {
		for i := range of.NumField() {
			f := of.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
			if key == "-" {
				continue
			}
			if key == "" || !strings.Contains(string(b), "`"+key+"`") && !strings.Contains(string(b), "["+key+"]") {
				t.Errorf("%s.%s: key %q is not described", of.Name(), f.Name, key)
			}
			in := f.Type
			if in.Kind() == reflect.Slice {
				in = in.Elem()
			}
			if in.Kind() == reflect.Struct {
				walk(in)
			}
		}
	}
	walk(reflect.TypeFor[Scenario]())
	for _, v := range verbs {
		if !strings.Contains(string(b), "`"+v+"`") {
			t.Errorf("verb %q is not described", v)
		}
	}
	for _, name := range sortedKeys(attacks) {
		row := "| `" + name + "` | " + attacks[name].about + " |"
		for i, param := range sortedKeys(attacks[name].params) {
			if i > 0 {
				row += ","
			}
			row += fmt.Sprintf(" `%s` (%v)", param, attacks[name].params[param])
		}
		if row += " |"; !strings.Contains(string(b), row) {
			t.Errorf("the description has no row\n%s", row)
		}
	}
}

// Every key, and every word that one of them takes, is in an example.
func TestExamplesShowEverything(t *testing.T) {
	shown := map[string]bool{}
	var look func(path string, v any)
	look = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, in := range v {
				look(strings.TrimPrefix(path+"."+k, "."), in)
			}
		case []any:
			for _, in := range v {
				look(path, in)
			}
		case string:
			shown[path+"="+v] = true
		}
		shown[path] = true
	}
	files, err := filepath.Glob("scenarios/*.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var all map[string]any
		if err := toml.Unmarshal(b, &all); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if !bytes.HasPrefix(b, []byte("# ")) || bytes.Count(b, []byte("#")) < 2 {
			t.Errorf("%s does not explain itself", f)
		}
		look("", all)
	}
	want := []string{"network.topology=" + Mesh, "network.topology=" + Ring, "network.topology=" + Random,
		"event.how=" + Idle, "event.how=" + Written, "event.how=" + Lost, "event.how=" + Sending,
		"found=" + FoundByTickets, "found=" + FoundAtOnce, "policy=admins", "rule=support"}
	for _, v := range verbs {
		if !shown["event.do="+v] && !shown["load.do="+v] {
			want = append(want, "event.do="+v)
		}
	}
	var walk func(path string, of reflect.Type)
	walk = func(path string, of reflect.Type) {
		for i := range of.NumField() {
			f := of.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
			if key == "-" || key == "seed" || key == "draw" { // which minimize writes
				continue
			}
			in := f.Type
			if in.Kind() == reflect.Slice {
				in = in.Elem()
			}
			if key = strings.TrimPrefix(path+"."+key, "."); in.Kind() == reflect.Struct {
				walk(key, in)
			} else {
				want = append(want, key)
			}
		}
	}
	walk("", reflect.TypeFor[Scenario]())
	for _, k := range want {
		if !shown[k] {
			t.Errorf("no example shows %s", k)
		}
	}
}
