package staticpod

import (
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	sigsyaml "sigs.k8s.io/yaml"
)

// DecodeAll returns the pods of a document that holds one Pod or a PodList.
func DecodeAll(document []byte) ([]*v1.Pod, error) {
	var kind metav1.TypeMeta
	if err := sigsyaml.Unmarshal(document, &kind); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	if kind.APIVersion != "v1" || kind.Kind != "PodList" && kind.Kind != "List" {
		pod, _, err := Decode(document)
		if err != nil {
			return nil, err
		}
		return []*v1.Pod{pod}, nil
	}
	var list v1.PodList
	if err := sigsyaml.Unmarshal(document, &list); err != nil {
		return nil, fmt.Errorf("decode list of manifests: %w", err)
	}
	pods := make([]*v1.Pod, len(list.Items))
	for i := range list.Items {
		pods[i] = &list.Items[i]
		if pods[i].Name == "" {
			return nil, errors.New("invalid pod: metadata.name: Required value")
		}
	}
	return pods, nil
}
