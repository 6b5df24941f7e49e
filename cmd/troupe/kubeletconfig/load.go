package kubeletconfig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// LoadFile reads a configuration file strictly and fills in the defaults,
// including the hard eviction thresholds. Relative paths in the file are made
// absolute against its folder.
func LoadFile(path string) (*Configuration, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", path, err)
	}
	data, err := os.ReadFile(absolute)
	if err != nil {
		return nil, fmt.Errorf("read configuration file: %w", err)
	}
	c, err := decode(path, data)
	if err != nil {
		return nil, err
	}
	SetDefaults(c)
	for _, p := range pathFields(c) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(absolute), *p)
		}
	}
	switch {
	case c.EvictionHard == nil:
		c.EvictionHard = DefaultEvictionHard()
	case *c.MergeDefaultEvictionSettings:
		for signal, threshold := range DefaultEvictionHard() {
			if _, set := c.EvictionHard[signal]; !set {
				c.EvictionHard[signal] = threshold
			}
		}
	}
	return c, nil
}

// pathFields are the fields that name files (KubeletConfigurationPathRefs of
// the kubelet).
func pathFields(c *Configuration) []*string {
	return []*string{
		&c.StaticPodPath, &c.Authentication.X509.ClientCAFile, &c.TLSCertFile, &c.TLSPrivateKeyFile,
		c.ResolverConfig, &c.VolumePluginDir, &c.PodLogsDir,
	}
}

// MergeDropIns applies every *.conf file below dir to base as a JSON merge
// patch, in lexical order of the walk, folders in their place, and fills in
// defaults again. It returns the merged configuration and the files that were
// skipped for their name. base is not changed.
func MergeDropIns(base *Configuration, dir string) (*Configuration, []string, error) {
	merged, err := toMap(base)
	if err != nil {
		return nil, nil, fmt.Errorf("drop-in folder %s: %w", dir, err)
	}
	var skipped []string
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return nil
		}
		if filepath.Ext(entry.Name()) != ".conf" {
			skipped = append(skipped, path)
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		asJSON, err := check(path, data)
		if err != nil {
			return err
		}
		patch, err := parseObject(asJSON)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		merged = mergePatch(merged, patch)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("drop-in folder %s: %w", dir, err)
	}
	raw, err := json.Marshal(merged)
	if err != nil {
		return nil, nil, fmt.Errorf("drop-in folder %s: %w", dir, err)
	}
	out := &Configuration{}
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, nil, fmt.Errorf("drop-in folder %s: %w", dir, err)
	}
	SetDefaults(out)
	return out, skipped, nil
}

// mergePatch is RFC 7386 on decoded objects: null removes, objects merge, all
// else replaces. Feature gates and other maps merge by key this way.
func mergePatch(target, patch map[string]any) map[string]any {
	if target == nil {
		target = map[string]any{}
	}
	for key, value := range patch {
		switch v := value.(type) {
		case nil:
			delete(target, key)
		case map[string]any:
			existing, _ := target[key].(map[string]any)
			target[key] = mergePatch(existing, v)
		default:
			target[key] = v
		}
	}
	return target
}

func toMap(c *Configuration) (map[string]any, error) {
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return parseObject(raw)
}

// parseObject keeps numbers as they are written.
func parseObject(raw []byte) (map[string]any, error) {
	var out map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	return out, nil
}

func quote(s string) []byte {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always marshal
	}
	return raw
}
