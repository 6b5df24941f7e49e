// Package archtest checks by their imports that the parts of Troupe stay apart
// as designed: who may know whom, what is pure, and where the actor library is.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/troupe-dev/troupe"

// pkg is what `go list` says about a package. Imports leaves out those of tests.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Standard   bool
}

// local is the path below the module, "" for foreign packages.
func local(importPath string) string {
	below, ok := strings.CutPrefix(importPath, module+"/")
	if !ok {
		return ""
	}
	return below
}

func top(below string) string { return strings.SplitN(below, "/", 2)[0] }

// loaded is the one listing that all tests share; it costs seconds.
var loaded = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Dir,GoFiles,Imports,Standard", "./...")
	cmd.Dir = "../../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if err != nil {
		return nil, errors.New("go list: " + err.Error() + ": " + stderr.String())
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(raw)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

// list returns every package of the product and its dependencies, ours first
// when only ours are asked for.
func list(t *testing.T, ours bool) []pkg {
	t.Helper()
	all, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	if !ours {
		return all
	}
	var out []pkg
	for _, p := range all {
		switch below := local(p.ImportPath); top(below) {
		case "", "test", "examples":
		default:
			out = append(out, p)
		}
	}
	if len(out) < 10 {
		t.Fatalf("only %d packages found: the listing no longer works", len(out))
	}
	return out
}

// The kubelet's own source is an application and not a library: nothing of it
// may be linked in, not even through somebody else.
func TestNothingOfKubernetesItself(t *testing.T) {
	for _, p := range list(t, false) {
		for _, i := range p.Imports {
			if i == "k8s.io/kubernetes" || strings.HasPrefix(i, "k8s.io/kubernetes/") {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
	}
}

// directions says which parts each part may import, besides itself.
func directions() map[string][]string {
	return map[string][]string{
		"messages":   {},
		"cri":        {"messages"},
		"cgroups":    {"messages"},
		"supervisor": {"messages"},
		"actors":     {"messages", "cri", "cgroups", "supervisor"},
		"server":     {"messages", "cri", "cgroups", "supervisor"},
		"bench":      {"messages", "cri", "cgroups", "supervisor"},
		"cmd":        {"messages", "cri", "cgroups", "supervisor", "actors", "server", "bench"},
	}
}

func TestImportDirection(t *testing.T) {
	allowed := directions()
	for _, p := range list(t, true) {
		from := local(p.ImportPath)
		may, known := allowed[top(from)]
		if !known {
			t.Errorf("%s: a new top-level folder; the set is fixed", from)
			continue
		}
		for _, i := range p.Imports {
			to := local(i)
			if to != "" && top(to) != top(from) && !slices.Contains(may, top(to)) {
				t.Errorf("%s imports %s", from, to)
			}
		}
	}
}

// acquainted are the entities that may know another one's actor, and why. All
// others meet in actors/root alone, through messages and functions.
func acquainted() map[string]string {
	return map[string]string{
		"pod container":   "a pod's actor spawns its containers",
		"probe container": "it implements what the container's actor asks for",
	}
}

// An entity's actor is in the package actors/<entity>; the packages below it
// hold plans and mechanisms, which others may use.
func TestActorsDoNotImportEachOther(t *testing.T) {
	used := map[string]bool{}
	for _, p := range list(t, true) {
		from := strings.Split(local(p.ImportPath), "/")
		if from[0] != "actors" || len(from) < 2 || from[1] == "root" {
			continue
		}
		for _, i := range p.Imports {
			to := strings.Split(local(i), "/")
			if to[0] != "actors" || len(to) != 2 || to[1] == from[1] || isPure(local(i)) {
				continue
			}
			pair := from[1] + " " + to[1]
			used[pair] = true
			if acquainted()[pair] == "" {
				t.Errorf("%s imports %s", local(p.ImportPath), local(i))
			}
		}
	}
	for pair := range acquainted() {
		if !used[pair] {
			t.Errorf("%s: the exception is not used any more, remove it", pair)
		}
	}
}

// shells are where the actor library may be. Patterns as in path.Match, and a
// final /... stands for everything below.
func shells() []string { return []string{"supervisor/...", "actors/..."} }

func TestActorLibraryOnlyInShells(t *testing.T) {
	for _, p := range list(t, true) {
		below := local(p.ImportPath)
		if slices.ContainsFunc(shells(), func(s string) bool { return matches(s, below) }) && !isPure(below) {
			continue
		}
		for _, i := range p.Imports {
			if strings.HasPrefix(i, "github.com/asynkron/protoactor-go") {
				t.Errorf("%s imports %s", below, i)
			}
		}
	}
}

func matches(pattern, below string) bool {
	if prefix, all := strings.CutSuffix(pattern, "/..."); all {
		return below == prefix || strings.HasPrefix(below, prefix+"/")
	}
	ok, err := path.Match(pattern, below)
	return err == nil && ok
}

// pure names the packages that decide: by the last element of their path.
func pure() []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, p := range []string{
		`^messages(/|$)`,
		`(^|/)\w*plan$`,
		`^supervisor/policy$`,
		`^cgroups$`,
		`/(allocation|podchange|podstatus|payload|fieldpath|sandboxspec|containerspec|expand|qos|ledger|allocatable|backoff)$`,
	} {
		out = append(out, regexp.MustCompile(p))
	}
	return out
}

func isPure(below string) bool {
	return slices.ContainsFunc(pure(), func(r *regexp.Regexp) bool { return r.MatchString(below) })
}

// impure are imports that bring in time, chance, the machine or the network.
func impure(i string) bool {
	for _, p := range []string{
		"os", "os/...", "net", "net/http/...", "context", "math/rand/...", "crypto/rand", "log/...", "syscall", "io/ioutil",
		"golang.org/x/sys/...", "k8s.io/klog/...", "k8s.io/client-go/...", "k8s.io/component-base/featuregate", "google.golang.org/grpc/...",
		"github.com/asynkron/protoactor-go/...", "github.com/fsnotify/fsnotify", "k8s.io/utils/clock", "k8s.io/utils/exec", "unsafe",
	} {
		if matches(p, i) {
			return true
		}
	}
	return false
}

// clockReads are the functions of package time that read or wait for the clock.
func clockReads() []string {
	return []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
}

// declares are imports that a pure package has for a declaration only.
func declares() map[string]string {
	return map[string]string{"cgroups": "context"} // the interface of the appliers
}

func TestPurePackages(t *testing.T) {
	found := 0
	for _, p := range list(t, true) {
		below := local(p.ImportPath)
		if !isPure(below) {
			continue
		}
		found++
		for _, i := range p.Imports {
			if impure(i) && declares()[below] != i {
				t.Errorf("%s is pure and imports %s", below, i)
			}
			if to := local(i); to != "" && !isPure(to) {
				t.Errorf("%s is pure and imports %s, which is not", below, to)
			}
		}
		for _, f := range p.GoFiles {
			clock(t, below, filepath.Join(p.Dir, f))
		}
	}
	if found < 5 {
		t.Errorf("only %d pure packages found: the patterns no longer match", found)
	}
}

// clock reports calls that read the clock: in pure code time comes in with events.
func clock(t *testing.T, below, file string) {
	t.Helper()
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, file, nil, 0)
	if err != nil {
		t.Error(err)
		return
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && x.Obj == nil && slices.Contains(clockReads(), s.Sel.Name) {
			t.Errorf("%s is pure and calls time.%s (%s)", below, s.Sel.Name, filepath.Base(file))
		}
		return true
	})
}

// The package doc that leads a reader through one pod names seven files; they
// must be there.
func TestOnePodSevenFiles(t *testing.T) {
	const root = "../../.."
	var docs []string
	err := filepath.WalkDir(filepath.Join(root, "actors"), func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "doc.go" {
			docs = append(docs, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range docs {
		raw, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(raw, []byte("seven files")) {
			continue
		}
		files := regexp.MustCompile(`\b[\w-]+(?:/[\w-]+)+\.go\b`).FindAllString(string(raw), -1)
		if len(files) != 7 {
			t.Errorf("%s names %d files: %v", doc, len(files), files)
		}
		for _, f := range files {
			if _, err := os.Stat(filepath.Join(root, f)); err != nil {
				t.Errorf("%s names %s, which is not there", doc, f)
			}
		}
		return
	}
	t.Error(`no doc.go below actors leads through "one pod, seven files"`)
}
