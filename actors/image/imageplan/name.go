package imageplan

import (
	"fmt"
	"strings"

	// The algorithms that a digest may name.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/distribution/reference"
	v1 "k8s.io/api/core/v1"
)

// Name is an image reference as a pod names it, taken apart.
type Name struct {
	// Requested is what the pod says; Full has ":latest" where it names neither tag nor digest. Short names stay short:
	// where they come from is the runtime's business.
	Requested, Full string
	// Repository is fully qualified, without tag and digest: what credentials are looked up for.
	Repository string
	// Host is the registry's, docker.io when none is named.
	Host string
}

// Parse takes an image reference apart.
func Parse(image string) (Name, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return Name{}, fmt.Errorf("couldn't parse image name %q: %w", image, err)
	}
	n := Name{Requested: image, Full: image, Repository: named.Name(), Host: reference.Domain(named)}
	_, tagged := named.(reference.Tagged)
	_, digested := named.(reference.Digested)
	if !tagged && !digested {
		n.Full += ":latest"
	}
	return n, nil
}

// DefaultPolicy is the pull policy of a container that names none: Always for the tag latest, else IfNotPresent. The API
// server sets it; pods from files need it.
func DefaultPolicy(image string) v1.PullPolicy {
	n, err := Parse(image)
	if err != nil {
		return v1.PullIfNotPresent
	}
	if named, err := reference.ParseNormalizedNamed(n.Full); err == nil {
		if _, digested := named.(reference.Digested); digested {
			return v1.PullIfNotPresent
		}
	}
	if strings.HasSuffix(n.Full, ":latest") {
		return v1.PullAlways
	}
	return v1.PullIfNotPresent
}
