// Package staticpod turns a manifest into the pod that this node runs from it: decoding, the name and the identity that
// a node gives it, defaults, validation and the refusal of references to API objects. It is pure.
package staticpod

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/troupe-dev/troupe/actors/source/podchange"
	"github.com/troupe-dev/troupe/actors/source/poddefaults"
	"github.com/troupe-dev/troupe/actors/source/podvalidate"
)

// MaxManifest is the size of the largest manifest that is read, in bytes.
const MaxManifest = 10 << 20

// Origin says where a manifest came from.
type Origin struct {
	NodeName string
	// Source is "file" or "http", Path the file's path or the URL.
	Source, Path string
	// AllowAPIReferences admits pods that refer to API objects, for a node whose volumes can serve them without one.
	AllowAPIReferences bool
}

// Decode returns the pod of a manifest (YAML or JSON). Of a YAML stream the first document that is not empty counts;
// more says that others follow.
func Decode(manifest []byte) (pod *v1.Pod, more bool, err error) {
	reader := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(manifest)))
	defer reader.Close()
	var document []byte
	for {
		next, err := readDocument(reader, len(manifest))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, false, fmt.Errorf("read manifest: %w", err)
		}
		if len(withoutComments(next)) == 0 {
			continue
		}
		if document != nil {
			more = true
			break
		}
		document = next
	}
	if document == nil {
		return nil, false, errors.New("manifest is empty")
	}
	var kind metav1.TypeMeta
	if err := sigsyaml.Unmarshal(document, &kind); err != nil {
		return nil, false, fmt.Errorf("decode manifest: %w", err)
	}
	if kind.APIVersion != "v1" || kind.Kind != "Pod" {
		return nil, false, fmt.Errorf("manifest holds %s %s, want v1 Pod", orNothing(kind.APIVersion), orNothing(kind.Kind))
	}
	pod = &v1.Pod{}
	if err := sigsyaml.Unmarshal(document, pod); err != nil {
		return nil, false, fmt.Errorf("decode manifest: %w", err)
	}
	if pod.Name == "" {
		return nil, false, errors.New("invalid pod: metadata.name: Required value")
	}
	return pod, more, nil
}

// Prepare gives a decoded pod what makes it this node's static pod, in place, and says what is wrong with it.
//
// Its UID, when the manifest names none, is a hash of the manifest's content, the node and the path: the same file has
// the same UID after every restart, and a changed file is another pod.
func Prepare(pod *v1.Pod, from Origin) error {
	pod.Status = v1.PodStatus{Phase: v1.PodPending}
	pod.ResourceVersion, pod.ManagedFields, pod.OwnerReferences = "", nil, nil
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = nil, nil
	if pod.UID == "" {
		uid, err := identity(pod, from)
		if err != nil {
			return err
		}
		pod.UID = uid
	}
	pod.Name += "-" + strings.ToLower(from.NodeName)
	if pod.Namespace == "" {
		pod.Namespace = metav1.NamespaceDefault
	}
	pod.Spec.NodeName = from.NodeName
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[podchange.ConfigHash] = string(pod.UID)
	if from.Source == "file" {
		tolerateNoExecute(&pod.Spec)
	}
	poddefaults.Apply(pod)
	if faults := podvalidate.Pod(pod); len(faults) > 0 {
		return fmt.Errorf("invalid pod: %w", faults.ToAggregate())
	}
	if from.AllowAPIReferences {
		return nil
	}
	if what := APIReference(pod); what != "" {
		return fmt.Errorf("static pods may not reference %s", what)
	}
	return nil
}

// identity hashes the pod as it was decoded, before defaults, so that a newer agent with other defaults finds the same
// pod in the same file.
func identity(pod *v1.Pod, from Origin) (types.UID, error) {
	content, err := json.Marshal(pod)
	if err != nil {
		return "", fmt.Errorf("hash manifest: %w", err)
	}
	h := fnv.New128a()
	h.Write(content)
	if from.Source == "file" {
		fmt.Fprintf(h, "host:%sfile:%s", from.NodeName, from.Path)
	} else {
		fmt.Fprintf(h, "url:%s", from.Path)
	}
	return types.UID(hex.EncodeToString(h.Sum(nil))), nil
}

// tolerateNoExecute keeps node problems from evicting what the node itself was told to run.
func tolerateNoExecute(spec *v1.PodSpec) {
	want := v1.Toleration{Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute}
	for _, t := range spec.Tolerations {
		if t.MatchToleration(&want) {
			return
		}
	}
	spec.Tolerations = append(spec.Tolerations, want)
}

func readDocument(r io.Reader, size int) ([]byte, error) {
	buffer := make([]byte, size+1)
	n, err := r.Read(buffer)
	return buffer[:n], err
}

func withoutComments(document []byte) []byte {
	var rest []byte
	for _, line := range bytes.Split(document, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && !bytes.Equal(line, []byte("---")) {
			rest = append(rest, line...)
		}
	}
	return rest
}

func orNothing(s string) string {
	if s == "" {
		return `""`
	}
	return s
}
