package plugins

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	kubeletconfig "k8s.io/kubelet/config/v1"
	credentials "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
	"sigs.k8s.io/yaml"
)

// The versions of the configuration and of the exchange with a plugin; of both the fields are the same, but for service
// account tokens, which only v1 has.
const (
	configGroup = "kubelet.config.k8s.io/"
	pluginGroup = credentials.GroupName + "/"
	v1          = "v1"
)

func versions() []string { return []string{"v1", "v1alpha1", "v1beta1"} }

// Load reads the plugins' configuration: one file, or every .json, .yaml and .yml file of a folder in the order of their
// names. Each plugin has to be an executable in binDir. tokens says whether plugins may get service account tokens
// (feature gate KubeletServiceAccountTokenForCredentialProviders).
func Load(path, binDir string, tokens bool) ([]kubeletconfig.CredentialProvider, error) {
	if info, err := os.Stat(binDir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("image credential provider folder %s: %w", binDir, orNoFolder(err))
	}
	files, err := configFiles(path)
	if err != nil {
		return nil, fmt.Errorf("image credential provider configuration: %w", err)
	}
	var all []kubeletconfig.CredentialProvider
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("image credential provider configuration: %w", err)
		}
		list, err := decodeConfig(text)
		if err != nil {
			return nil, fmt.Errorf("image credential provider configuration %s: %w", file, err)
		}
		all = append(all, list...)
	}
	if err := validate(all, tokens); err != nil {
		return nil, fmt.Errorf("image credential provider configuration %s: %w", path, err)
	}
	for _, p := range all {
		if _, err := exec.LookPath(filepath.Join(binDir, p.Name)); err != nil {
			return nil, fmt.Errorf("image credential provider %s: %w", p.Name, err)
		}
	}
	return all, nil
}

func orNoFolder(err error) error {
	if err == nil {
		err = errors.New("not a folder")
	}
	return err
}

func configFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && slices.Contains([]string{".json", ".yaml", ".yml"}, ext) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("folder %s holds no configuration", path)
	}
	return files, nil
}

func decodeConfig(text []byte) ([]kubeletconfig.CredentialProvider, error) {
	var c kubeletconfig.CredentialProviderConfig
	if err := yaml.UnmarshalStrict(text, &c); err != nil {
		return nil, err
	}
	version, ours := strings.CutPrefix(c.APIVersion, configGroup)
	if !ours || !slices.Contains(versions(), version) || c.Kind != "CredentialProviderConfig" {
		return nil, fmt.Errorf("holds %q %q, want CredentialProviderConfig of %sv1", c.APIVersion, c.Kind, configGroup)
	}
	if version != v1 {
		for _, p := range c.Providers {
			if p.TokenAttributes != nil {
				return nil, fmt.Errorf("unknown field tokenAttributes of provider %q: %s has none", p.Name, c.APIVersion)
			}
		}
	}
	return c.Providers, nil
}

// validate holds the configuration against the kubelet's rules; all faults are named.
func validate(list []kubeletconfig.CredentialProvider, tokens bool) error {
	var errs []error
	fault := func(p *kubeletconfig.CredentialProvider, format string, args ...any) {
		errs = append(errs, fmt.Errorf("provider %q: %s", p.Name, fmt.Sprintf(format, args...)))
	}
	if len(list) == 0 {
		errs = append(errs, errors.New("at least one provider is needed"))
	}
	seen := map[string]bool{}
	for i := range list {
		p := &list[i]
		if p.Name == "" || p.Name == "." || p.Name == ".." || strings.ContainsAny(p.Name, "/ ") {
			fault(p, "its name is that of an executable: not empty, without slashes and spaces")
		}
		if seen[p.Name] {
			fault(p, "named twice")
		}
		seen[p.Name] = true
		if version, ours := strings.CutPrefix(p.APIVersion, pluginGroup); !ours || !slices.Contains(versions(), version) {
			fault(p, "apiVersion %q, want %sv1, v1beta1 or v1alpha1", p.APIVersion, pluginGroup)
		}
		if len(p.MatchImages) == 0 {
			fault(p, "matchImages is needed")
		}
		for _, m := range p.MatchImages {
			if _, err := url.Parse("https://" + m); err != nil || m == "" {
				fault(p, "matchImages: %q is no image", m)
			}
		}
		switch d := p.DefaultCacheDuration; {
		case d == nil:
			fault(p, "defaultCacheDuration is needed")
		case d.Duration < 0:
			fault(p, "defaultCacheDuration must not be negative")
		}
		if p.TokenAttributes != nil {
			validateTokens(p, tokens, fault)
		}
	}
	return errors.Join(errs...)
}

func validateTokens(p *kubeletconfig.CredentialProvider, tokens bool, fault func(*kubeletconfig.CredentialProvider, string, ...any)) {
	a := p.TokenAttributes
	if !tokens {
		fault(p, "tokenAttributes needs the feature gate KubeletServiceAccountTokenForCredentialProviders")
	}
	if p.APIVersion != pluginGroup+v1 {
		fault(p, "tokenAttributes needs apiVersion %sv1", pluginGroup)
	}
	if a.ServiceAccountTokenAudience == "" {
		fault(p, "tokenAttributes.serviceAccountTokenAudience is needed")
	}
	if a.RequireServiceAccount == nil {
		fault(p, "tokenAttributes.requireServiceAccount is needed")
	} else if !*a.RequireServiceAccount && len(a.RequiredServiceAccountAnnotationKeys) > 0 {
		fault(p, "tokenAttributes.requiredServiceAccountAnnotationKeys needs requireServiceAccount")
	}
	if a.CacheType != kubeletconfig.ServiceAccountServiceAccountTokenCacheType && a.CacheType != kubeletconfig.TokenServiceAccountTokenCacheType {
		fault(p, "tokenAttributes.cacheType %q, want ServiceAccount or Token", a.CacheType)
	}
	seen := map[string]bool{}
	for _, key := range slices.Concat(a.RequiredServiceAccountAnnotationKeys, a.OptionalServiceAccountAnnotationKeys) {
		for _, problem := range validation.IsQualifiedName(strings.ToLower(key)) {
			fault(p, "annotation key %q: %s", key, problem)
		}
		if seen[key] {
			fault(p, "annotation key %q is named twice", key)
		}
		seen[key] = true
	}
}
