package image

import (
	"context"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/image/imageplan"
	"github.com/troupe-dev/troupe/actors/image/keyring"
)

// credentials returns what a pod may pull an image with, in the order in which it is tried: its own pull secrets, the
// node's docker config, the node's plugins. Secrets that cannot be read are named, and the pull is tried without them. It
// runs in the effect runner.
func (d *Deps) credentials(ctx context.Context, nodeDirs []string, pod *v1.Pod, name imageplan.Name) (creds []keyring.Credential, missing []string, err error) {
	var secrets []*v1.Secret
	for _, ref := range pod.Spec.ImagePullSecrets {
		if ref.Name == "" { // the API lets empty names pass
			continue
		}
		var s *v1.Secret
		if d.Secrets != nil {
			s, err = d.Secrets.Secret(ctx, pod.Namespace, ref.Name)
		}
		if s == nil || err != nil {
			d.Logger.Info("Unable to retrieve pull secret, the image pull may not succeed.", "pod", owner(pod), "secret", ref.Name, "err", err)
			missing = append(missing, ref.Name)
			continue
		}
		secrets = append(secrets, s)
	}
	own, err := keyring.FromSecrets(secrets)
	if err != nil {
		return nil, missing, err
	}
	creds = own.Lookup(name.Repository)
	node := &keyring.Keyring{}
	node.Add(readNodeConfig(nodeDirs), keyring.Source{})
	creds = append(creds, node.Lookup(name.Repository)...)
	if d.Plugins != nil {
		more, err := d.Plugins.Credentials(ctx, name.Repository, pod)
		if err != nil {
			d.Logger.Error(err, "Credential provider plugin failed", "image", name.Requested)
		}
		creds = append(creds, more...)
	}
	return creds, missing, nil
}

// NodeConfigDirs returns where the kubelet looks for the node's docker config: its root directory, the working directory,
// the home directory and the root.
func NodeConfigDirs(rootDir string) []string {
	dirs := []string{rootDir, "."}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, home)
	}
	return append(dirs, "/")
}

// readNodeConfig reads the first valid file: every config.json comes before every .dockercfg. In the home and root
// directories config.json lies in .docker. The files are small and may change at any time, so they are read for each pull.
func readNodeConfig(dirs []string) keyring.Config {
	for i, dir := range dirs {
		if i >= 2 {
			dir = filepath.Join(dir, ".docker")
		}
		if b, err := os.ReadFile(filepath.Join(dir, "config.json")); err == nil {
			if cfg, err := keyring.ParseConfigJSON(b); err == nil {
				return cfg
			}
		}
	}
	for _, dir := range dirs {
		if b, err := os.ReadFile(filepath.Join(dir, ".dockercfg")); err == nil {
			if cfg, err := keyring.ParseDockercfg(b); err == nil {
				return cfg
			}
		}
	}
	return nil
}
