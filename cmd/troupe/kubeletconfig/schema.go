package kubeletconfig

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// property is one key of a mapping that decodes into a struct.
type property struct {
	name string
	typ  reflect.Type
}

// fieldsOf lists the JSON keys of a struct in declaration order, with those of
// inlined structs in place.
func fieldsOf(t reflect.Type) []property {
	var out []property
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name == "" && (f.Anonymous || strings.Contains(options, "inline")) {
			out = append(out, fieldsOf(f.Type)...)
			continue
		}
		if name == "" {
			name = f.Name
		}
		out = append(out, property{name, f.Type})
	}
	return out
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isLeaf reports whether values of t decode as a whole: scalars, and types
// with their own decoding such as durations and quantities.
func isLeaf(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(jsonUnmarshaler) || reflect.PointerTo(t).Implements(textUnmarshaler) {
		return true
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer:
		return false
	default:
		return true
	}
}

// TopLevelFields returns the names of all fields of the configuration except
// apiVersion and kind, in declaration order.
func TopLevelFields() []string {
	var out []string
	for _, f := range fieldsOf(reflect.TypeFor[Configuration]()) {
		if f.name != "apiVersion" && f.name != "kind" {
			out = append(out, f.name)
		}
	}
	return out
}

// paths returns every path of t below prefix, structs and their leaves both.
func paths(t reflect.Type, prefix string) []string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if isLeaf(t) || t.Kind() != reflect.Struct {
		return nil
	}
	var out []string
	for _, f := range fieldsOf(t) {
		path := join(prefix, f.name)
		out = append(out, path)
		out = append(out, paths(f.typ, path)...)
	}
	return out
}

// elsewhere returns the paths whose last element is name, apart from path itself.
func elsewhere(name, path string) []string {
	all := paths(reflect.TypeFor[Configuration](), "")
	return slices.DeleteFunc(all, func(p string) bool {
		return p == path || p[strings.LastIndexByte(p, '.')+1:] != name
	})
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}
