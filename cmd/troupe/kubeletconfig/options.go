package kubeletconfig

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	kubeletapis "k8s.io/kubelet/pkg/apis"

	"github.com/troupe-dev/troupe/cmd/troupe/featuregates"
)

// Flags are the settings of the command line that no configuration field has.
// Field names follow the flags.
type Flags struct {
	Config              string
	ConfigDir           string
	Kubeconfig          string
	BootstrapKubeconfig string
	HostnameOverride    string
	NodeIP              string
	NodeLabels          map[string]string
	CertDir             string
	CloudProvider       string
	RootDir             string
	RuntimeCgroups      string
	LockFile            string

	ImageCredentialProviderConfig string
	ImageCredentialProviderBinDir string

	ExitOnLockContention bool

	// AllocatableIgnoreEviction leaves the hard eviction thresholds out of
	// node allocatable (--experimental-allocatable-ignore-eviction).
	AllocatableIgnoreEviction bool
	// MinimumContainerTTL is the least age of a finished container that may be removed.
	MinimumContainerTTL time.Duration
	// MaxDeadPerContainer and MaxDeadContainers bound how many finished
	// instances stay, per container and on the node (-1: no bound).
	MaxDeadPerContainer int32
	MaxDeadContainers   int32

	// Socket is the root-only unix socket for `troupe tree` and `troupe explain`;
	// empty turns it off. Not a kubelet flag.
	Socket string
}

// DefaultSocket is where the inspection socket is.
const DefaultSocket = "/run/troupe/troupe.sock"

// NewFlags returns the defaults of the kubelet's own flags.
func NewFlags() *Flags {
	return &Flags{
		CertDir:             "/var/lib/kubelet/pki",
		RootDir:             "/var/lib/kubelet",
		NodeLabels:          map[string]string{},
		MaxDeadPerContainer: 1,
		MaxDeadContainers:   -1,
		Socket:              DefaultSocket,
	}
}

// Options is everything that the user decided, complete and valid. It is not
// changed after the start.
type Options struct {
	Config *Configuration
	Flags  Flags
	Gates  featuregates.Gates
	// Warnings are sentences to log once, in order.
	Warnings []string
	// SetFlags are the names and values given on the command line.
	SetFlags map[string]string
	// SkippedDropIns are files in --config-dir without the suffix .conf.
	SkippedDropIns []string
}

// ValidateFlags checks what Validate does not cover. Rules: ValidateKubeletFlags
// of Kubernetes v1.36.3.
func ValidateFlags(f *Flags) error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(f.NodeLabels)) {
		if reserved(key) && !kubeletapis.IsKubeletLabel(key) {
			errs = append(errs, fmt.Errorf("--node-labels: a node may not set %q on itself; in kubernetes.io and k8s.io only the prefixes %s and the labels %s are allowed",
				key, strings.Join(kubeletapis.KubeletLabelNamespaces(), ", "), strings.Join(kubeletapis.KubeletLabels(), ", ")))
		}
		for _, p := range validation.IsQualifiedName(key) {
			errs = append(errs, fmt.Errorf("--node-labels: key %q: %s", key, p))
		}
		for _, p := range validation.IsValidLabelValue(f.NodeLabels[key]) {
			errs = append(errs, fmt.Errorf("--node-labels: value %q of %s: %s", f.NodeLabels[key], key, p))
		}
	}
	if f.CloudProvider != "" && f.CloudProvider != "external" {
		errs = append(errs, fmt.Errorf("--cloud-provider: %q was removed from Kubernetes; use external with a cloud controller manager, or leave it empty", f.CloudProvider))
	}
	if f.ExitOnLockContention && f.LockFile == "" {
		errs = append(errs, errors.New("--exit-on-lock-contention needs --lock-file"))
	}
	if (f.ImageCredentialProviderConfig == "") != (f.ImageCredentialProviderBinDir == "") {
		errs = append(errs, errors.New("--image-credential-provider-config and --image-credential-provider-bin-dir belong together; set both or neither"))
	}
	return errors.Join(errs...)
}

// reserved reports whether a label key is in a namespace of Kubernetes.
func reserved(key string) bool {
	namespace, _, found := strings.Cut(key, "/")
	if !found {
		return false
	}
	for _, domain := range []string{"kubernetes.io", "k8s.io"} {
		if namespace == domain || strings.HasSuffix(namespace, "."+domain) {
			return true
		}
	}
	return false
}
