package standalone

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Objects is what manifests describe, in the order of the files.
type Objects struct {
	Pods       []*v1.Pod
	ConfigMaps []*v1.ConfigMap
	Secrets    []*v1.Secret
}

// supported is the end of every refusal.
const supported = "`troupe run` takes Pod, ConfigMap and Secret"

// LoadManifests reads files, folders (their *.yaml, *.yml and *.json, not deeper) and "-" (stdin), each with any number
// of documents. Decoding is strict: an unknown or repeated field is an error that names it. All faults are reported
// together.
func LoadManifests(paths []string, stdin io.Reader) (Objects, error) {
	var (
		out  Objects
		errs []error
	)
	for _, p := range paths {
		files, err := expand(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, f := range files {
			data, err := readManifest(f, stdin)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			errs = append(errs, out.addFile(f, data)...)
		}
	}
	errs = append(errs, out.repeated()...)
	if len(errs) == 0 && len(out.Pods) == 0 {
		errs = append(errs, fmt.Errorf("there is no Pod in %s", strings.Join(paths, ", ")))
	}
	return out, errors.Join(errs...)
}

func readManifest(path string, stdin io.Reader) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(path)
}

func expand(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, ext) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: the folder has no .yaml, .yml or .json file", path)
	}
	sort.Strings(files)
	return files, nil
}

func decoder() runtime.Decoder {
	s := runtime.NewScheme()
	// Types that are refused are known, too: so that the refusal can name the object.
	s.AddKnownTypes(v1.SchemeGroupVersion, &v1.Pod{}, &v1.ConfigMap{}, &v1.Secret{})
	return json.NewSerializerWithOptions(json.DefaultMetaFactory, s, s, json.SerializerOptions{Yaml: true, Strict: true})
}

func (o *Objects) addFile(file string, data []byte) []error {
	var errs []error
	dec := decoder()
	r := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for n := 1; ; n++ {
		doc, err := r.Read()
		if err == io.EOF {
			return errs
		}
		if err != nil {
			return append(errs, fmt.Errorf("%s: document %d: %w", file, n, err))
		}
		if blank(doc) {
			continue
		}
		if err := o.add(dec, doc); err != nil {
			errs = append(errs, fmt.Errorf("%s: document %d: %w", file, n, err))
		}
	}
}

// blank says whether a document holds nothing but comments.
func blank(doc []byte) bool {
	for line := range bytes.Lines(doc) {
		if l := bytes.TrimSpace(line); len(l) > 0 && l[0] != '#' && !bytes.Equal(l, []byte("---")) {
			return false
		}
	}
	return true
}

func (o *Objects) add(dec runtime.Decoder, doc []byte) error {
	obj, kind, err := dec.Decode(doc, nil, nil)
	if err != nil {
		return explainDecode(err, kind, doc)
	}
	switch x := obj.(type) {
	case *v1.Pod:
		x.Namespace = namespaceOf(x.Namespace)
		o.Pods = append(o.Pods, x)
	case *v1.ConfigMap:
		x.Namespace = namespaceOf(x.Namespace)
		o.ConfigMaps = append(o.ConfigMaps, x)
	case *v1.Secret:
		x.Namespace = namespaceOf(x.Namespace)
		o.Secrets = append(o.Secrets, withStringData(x))
	}
	return nil
}

func namespaceOf(ns string) string {
	if ns == "" {
		return v1.NamespaceDefault
	}
	return ns
}

// withStringData does what the API server does on a write.
func withStringData(s *v1.Secret) *v1.Secret {
	for k, v := range s.StringData {
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		s.Data[k] = []byte(v)
	}
	s.StringData = nil
	return s
}

// hints name, for kinds that people have at hand, what to do instead.
func hint(kind string) string {
	switch kind {
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Job", "CronJob":
		return "; its pod template can be given as a Pod, the controller needs an API server (`troupe node`)"
	case "Service", "Ingress":
		return "; pods answer at their own IP, or on the host with a hostPort"
	case "PersistentVolumeClaim", "PersistentVolume":
		return "; use an emptyDir or hostPath volume"
	case "List":
		return "; give its items as documents of their own, separated by ---"
	}
	return ""
}

func explainDecode(err error, gvk *schema.GroupVersionKind, doc []byte) error {
	switch {
	case runtime.IsNotRegisteredError(err) && gvk != nil:
		var meta struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		_ = yaml.Unmarshal(doc, &meta)
		what := gvk.Kind
		if meta.Metadata.Name != "" {
			what += fmt.Sprintf(" %q", meta.Metadata.Name)
		}
		return fmt.Errorf("%s (%s) is not supported: %s%s", what, gvk.GroupVersion(), supported, hint(gvk.Kind))
	case runtime.IsMissingKind(err), runtime.IsMissingVersion(err):
		return fmt.Errorf("kind or apiVersion is missing: %s (apiVersion: v1)", supported)
	case runtime.IsStrictDecodingError(err):
		faults, _ := runtime.AsStrictDecodingError(err)
		msgs := make([]string, 0, len(faults.Errors()))
		for _, f := range faults.Errors() {
			msgs = append(msgs, f.Error())
		}
		return errors.New(strings.Join(msgs, "; "))
	}
	return err
}

// repeated finds two objects with one name.
func (o *Objects) repeated() []error {
	var errs []error
	seen := map[string]bool{}
	note := func(kind, ns, name string) {
		if key := kind + " " + ns + "/" + name; seen[key] {
			errs = append(errs, fmt.Errorf("%s is given twice", key))
		} else {
			seen[key] = true
		}
		if name == "" {
			errs = append(errs, fmt.Errorf("a %s has no metadata.name", kind))
		}
	}
	for _, p := range o.Pods {
		note("Pod", p.Namespace, p.Name)
	}
	for _, c := range o.ConfigMaps {
		note("ConfigMap", c.Namespace, c.Name)
	}
	for _, s := range o.Secrets {
		note("Secret", s.Namespace, s.Name)
	}
	return errs
}
