// Package keyring finds the credentials for an image among those that a pod and its node have. It is pure: secrets and
// files are read elsewhere. Matching and order are the kubelet's, so that the same credential is tried first.
package keyring

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Auth is one credential for a registry. It must never be logged.
type Auth struct {
	Username, Password, Email string
}

// Source says where a credential comes from; the zero Source is the node itself, whose credentials every pod may use. Of
// the two UIDs at most one is set: of the pull secret, or of the service account for whose token a plugin gave it.
type Source struct {
	SecretUID, ServiceAccountUID, Namespace, Name string
}

// Credential is an Auth with its origin.
type Credential struct {
	Auth   Auth
	Source Source
}

// Config is the part of a docker config file that holds credentials, by registry location.
type Config map[string]Auth

// Keyring holds credentials from several configs.
type Keyring struct {
	keys  []string // reverse order, so that longer paths come before their prefixes
	creds map[string][]Credential
}

// The registry of images without a host, as docker's config names it.
const defaultRegistry = "index.docker.io"

// Add takes the credentials of one config. Locations that cannot be parsed are skipped, like in the kubelet.
func (k *Keyring) Add(cfg Config, from Source) {
	if k.creds == nil {
		k.creds = map[string][]Credential{}
	}
	for _, location := range sorted(cfg) {
		u := location
		if !strings.HasPrefix(u, "https://") && !strings.HasPrefix(u, "http://") {
			u = "https://" + u
		}
		parsed, err := url.Parse(u)
		if err != nil {
			continue
		}
		// A location of the API root means the host.
		p := parsed.Path
		if strings.HasPrefix(p, "/v2/") || strings.HasPrefix(p, "/v1/") {
			p = p[3:]
		}
		key := parsed.Host
		if p != "/" {
			key += p
		}
		if _, ok := k.creds[key]; !ok {
			k.keys = append(k.keys, key)
		}
		k.creds[key] = append(k.creds[key], Credential{cfg[location], from})
	}
	slices.SortFunc(k.keys, func(a, b string) int { return strings.Compare(b, a) })
}

func sorted(cfg Config) []string {
	keys := make([]string, 0, len(cfg))
	for key := range cfg {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Lookup returns the credentials to try for a repository (fully qualified, without tag and digest), the most specific
// location first.
func (k *Keyring) Lookup(repository string) []Credential {
	var out []Credential
	for _, key := range k.keys {
		if matches(key, repository) {
			out = append(out, k.creds[key]...)
		}
	}
	if len(out) == 0 && isDefault(repository) {
		return slices.Clone(k.creds[defaultRegistry])
	}
	return out
}

// matches says whether a location, whose host may have wildcards in its labels, covers a repository: the same port, the
// same number of labels, and a path that is a prefix.
func matches(location, repository string) bool {
	l, err := url.Parse("https://" + location)
	if err != nil {
		return false
	}
	r, err := url.Parse("https://" + repository)
	if err != nil {
		return false
	}
	lh, lp := hostPort(l.Host)
	rh, rp := hostPort(r.Host)
	if lp != rp || len(lh) != len(rh) || !strings.HasPrefix(r.Path, l.Path) {
		return false
	}
	for i := range lh {
		if ok, err := path.Match(lh[i], rh[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

func hostPort(s string) (labels []string, port string) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = s, ""
	}
	return strings.Split(host, "."), port
}

// isDefault says whether a repository is on Docker Hub.
func isDefault(repository string) bool {
	host, _, found := strings.Cut(repository, "/")
	switch {
	case host == "":
		return false
	case !found, host == "docker.io", host == defaultRegistry:
		return true
	}
	return !strings.ContainsAny(host, ".:")
}

// FromSecrets returns a keyring of the pull secrets, in their order. Secrets of other types or without content are
// skipped; malformed content is an error that names the secret, never what is in it.
func FromSecrets(secrets []*v1.Secret) (*Keyring, error) {
	k := &Keyring{}
	for _, s := range secrets {
		from := Source{SecretUID: string(s.UID), Namespace: s.Namespace, Name: s.Name}
		var cfg Config
		var err error
		switch {
		case s.Type == v1.SecretTypeDockerConfigJson && len(s.Data[v1.DockerConfigJsonKey]) > 0:
			cfg, err = ParseConfigJSON(s.Data[v1.DockerConfigJsonKey])
		case s.Type == v1.SecretTypeDockercfg && len(s.Data[v1.DockerConfigKey]) > 0:
			cfg, err = ParseDockercfg(s.Data[v1.DockerConfigKey])
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("pull secret %s/%s: %w", s.Namespace, s.Name, err)
		}
		k.Add(cfg, from)
	}
	return k, nil
}

var errMalformed = errors.New("the docker config is malformed")

// ParseConfigJSON reads a config.json ({"auths": {…}}).
func ParseConfigJSON(b []byte) (Config, error) {
	var file struct {
		Auths map[string]entry `json:"auths"`
	}
	// The decoder's errors quote what they read.
	if json.Unmarshal(b, &file) != nil {
		return nil, errMalformed
	}
	return decode(file.Auths)
}

// ParseDockercfg reads the older .dockercfg, which is the content of auths alone.
func ParseDockercfg(b []byte) (Config, error) {
	var entries map[string]entry
	if json.Unmarshal(b, &entries) != nil {
		return nil, errMalformed
	}
	return decode(entries)
}

type entry struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Email    string `json:"email"`
	Auth     string `json:"auth"`
}

func decode(entries map[string]entry) (Config, error) {
	cfg := make(Config, len(entries))
	for location, e := range entries {
		a := Auth{e.Username, e.Password, e.Email}
		if e.Auth != "" {
			// base64 of user:password, with or without padding.
			enc := base64.RawStdEncoding
			if strings.HasSuffix(strings.TrimSpace(e.Auth), "=") {
				enc = base64.StdEncoding
			}
			b, err := enc.DecodeString(e.Auth)
			if err != nil {
				return nil, errMalformed
			}
			user, password, ok := strings.Cut(string(b), ":")
			if !ok {
				return nil, errMalformed
			}
			a.Username, a.Password = user, password
		}
		cfg[location] = a
	}
	return cfg, nil
}

// Hash names a credential without giving it away, as the kubelet's records of pulled images do: SHA-256 of the JSON of what
// is in it.
func (a Auth) Hash() string {
	text, err := json.Marshal(struct {
		Username string `json:"username,omitempty"`
		Password string `json:"password,omitempty"`
		Email    string `json:"email,omitempty"`
	}{a.Username, a.Password, a.Email})
	if err != nil {
		return "" // strings always encode
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Match says whether a location, whose host may have wildcards in its labels, covers an image.
func Match(location, image string) bool { return matches(location, image) }

// Fingerprint names a list of credentials without giving them away: two pods share a pull only when theirs are equal.
func Fingerprint(creds []Credential) string {
	if len(creds) == 0 {
		return ""
	}
	h := sha256.New()
	for _, c := range creds {
		// Lengths keep ("a", "bc") apart from ("ab", "c").
		fmt.Fprintf(h, "%d:%s%d:%s;", len(c.Auth.Username), c.Auth.Username, len(c.Auth.Password), c.Auth.Password)
	}
	return hex.EncodeToString(h.Sum(nil))
}
