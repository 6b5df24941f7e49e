package kubeletconfig

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
	kjson "sigs.k8s.io/json"
	kyaml "sigs.k8s.io/yaml"

	"github.com/troupe-dev/troupe/cmd/troupe/suggest"
)

// Kind is the kind that a configuration document names.
const Kind = "KubeletConfiguration"

// decode parses one document strictly. file is only used in errors, which name
// the file, the line, the path of the field, and what to write instead. All
// errors of the document are returned together.
func decode(file string, data []byte) (*Configuration, error) {
	asJSON, err := check(file, data)
	if err != nil {
		return nil, err
	}
	c := &Configuration{}
	strict, err := kjson.UnmarshalStrict(asJSON, c)
	if err = errors.Join(append(strict, err)...); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// check reports everything that is wrong with the document and returns it as JSON.
func check(file string, data []byte) ([]byte, error) {
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil, fmt.Errorf("%s: the file is empty; it needs at least apiVersion: %s and kind: %s", file, kubeletconfigv1beta1.SchemeGroupVersion, Kind)
	}
	var document yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("%s: not valid YAML or JSON: %w", file, err)
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil && second.Kind != 0 && !isNull(root(&second)) {
		return nil, fmt.Errorf("%s:%d: a second document; a configuration file holds one, put more settings into --config-dir", file, second.Line)
	}
	c := checker{file: file}
	c.kind(root(&document))
	if len(c.errs) == 0 {
		c.value(root(&document), reflect.TypeFor[Configuration](), "")
	}
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	asJSON, err := kyaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return asJSON, nil
}

func root(document *yaml.Node) *yaml.Node {
	if document.Kind == yaml.DocumentNode && len(document.Content) > 0 {
		return document.Content[0]
	}
	return document
}

// checker walks a document beside the type that it will decode into.
type checker struct {
	file string
	errs []error
}

func (c *checker) fail(n *yaml.Node, path, format string, args ...any) {
	where := fmt.Sprintf("%s:%d: ", c.file, n.Line)
	if path != "" {
		where += path + ": "
	}
	c.errs = append(c.errs, errors.New(where+fmt.Sprintf(format, args...)))
}

// kind checks the two fields that say what the document is.
func (c *checker) kind(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		c.fail(n, "", "expected the fields of a %s, found a %s", Kind, kindName(n))
		return
	}
	want := map[string]string{"apiVersion": kubeletconfigv1beta1.SchemeGroupVersion.String(), "kind": Kind}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i].Value, n.Content[i+1].Value
		if w, ok := want[key]; ok {
			if value != w {
				c.fail(n.Content[i+1], key, "%q is not supported here; write %s", value, w)
			}
			delete(want, key)
		}
	}
	for _, key := range []string{"apiVersion", "kind"} {
		if w, missing := want[key]; missing {
			c.fail(n, key, "is missing; write %s: %s", key, w)
		}
	}
}

func (c *checker) value(n *yaml.Node, t reflect.Type, path string) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case isNull(n):
	case isLeaf(t):
		c.leaf(n, t, path)
	case t.Kind() == reflect.Struct || t.Kind() == reflect.Map:
		c.mapping(n, t, path)
	case t.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			c.fail(n, path, "expected a list, found a %s", kindName(n))
			return
		}
		for i, item := range n.Content {
			c.value(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

func (c *checker) mapping(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind != yaml.MappingNode {
		c.fail(n, path, "expected a mapping of names to values, found a %s", kindName(n))
		return
	}
	var known []property
	if t.Kind() == reflect.Struct {
		known = fieldsOf(t)
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag == "!!merge" {
			c.value(value, t, path)
			continue
		}
		at := join(path, key.Value)
		if line, twice := lines[key.Value]; twice {
			c.fail(key, at, "is set a second time (first in line %d); keep one", line)
			continue
		}
		lines[key.Value] = key.Line
		if t.Kind() == reflect.Map {
			c.value(value, t.Elem(), at)
			continue
		}
		if f, ok := find(known, key.Value); ok {
			c.value(value, f.typ, at)
			continue
		}
		c.fail(key, at, "%s", misplaced(key.Value, at, known))
	}
}

func find(fields []property, name string) (property, bool) {
	for _, f := range fields {
		if f.name == name {
			return f, true
		}
	}
	return property{}, false
}

// misplaced says where a name that is no field belongs.
func misplaced(name, path string, known []property) string {
	names := make([]string, 0, len(known))
	for _, f := range known {
		names = append(names, f.name)
	}
	dashed := dash(name)
	if field, ok := FlagFields()[dashed]; ok && field != path {
		return fmt.Sprintf("is not a field; --%s is a flag, its field is %s", dashed, field)
	}
	if near := suggest.Nearest(dashed, FlagOnly()); near != "" && strings.ReplaceAll(near, "-", "") == strings.ReplaceAll(dashed, "-", "") {
		return fmt.Sprintf("is not a configuration field; it exists only as a flag: pass --%s", near)
	}
	if places := elsewhere(name, path); len(places) > 0 {
		return fmt.Sprintf("does not belong here; write it as %s", strings.Join(places, " or "))
	}
	if near := suggest.Nearest(name, names); near != "" {
		return fmt.Sprintf("unknown field; did you mean %s?", near)
	}
	return "unknown field; remove it"
}

// dash turns camelCase and under_scores into the spelling of flags.
func dash(name string) string {
	var b strings.Builder
	previousUpper := true
	for _, r := range name {
		upper := r >= 'A' && r <= 'Z'
		if upper && !previousUpper {
			b.WriteByte('-')
		}
		previousUpper = upper
		b.WriteRune(r)
	}
	return strings.ReplaceAll(strings.ToLower(b.String()), "_", "-")
}

func (c *checker) leaf(n *yaml.Node, t reflect.Type, path string) {
	source := n.Value
	if n.Kind != yaml.ScalarNode {
		raw, err := yaml.Marshal(n)
		if err != nil {
			c.fail(n, path, "%v", err)
			return
		}
		source = string(raw)
	}
	var asJSON []byte
	var err error
	if n.Kind == yaml.ScalarNode && n.Style != 0 && n.Style&yaml.TaggedStyle == 0 {
		asJSON = quote(n.Value)
	} else if asJSON, err = kyaml.YAMLToJSON([]byte(source)); err != nil {
		c.fail(n, path, "%v", err)
		return
	}
	target := reflect.New(t)
	if err := kjson.UnmarshalCaseSensitivePreserveInts(asJSON, target.Interface()); err != nil {
		c.fail(n, path, "expected %s, found %s", expected(t), shown(n))
	}
}

func expected(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[metav1.Duration]():
		return `a duration such as "30s" or "2m"`
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64:
		return fmt.Sprintf("a whole number (%d bits)", t.Bits())
	case t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64:
		return "a whole number, not negative"
	case t.Kind() == reflect.Float64 || t.Kind() == reflect.Float32:
		return "a number"
	case t.Kind() == reflect.String:
		return "a string (put it in quotes)"
	default:
		return "a " + t.Name()
	}
}

func shown(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return fmt.Sprintf("%q", n.Value)
	}
	return "a " + kindName(n)
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "mapping"
	case yaml.SequenceNode:
		return "list"
	case yaml.ScalarNode:
		return "single value"
	default:
		return "nothing"
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
