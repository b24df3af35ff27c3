package sim

import (
	"os"
	"reflect"
	"strings"
	"testing"
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
}
