package pullrecords

import (
	"cmp"
	"maps"
	"slices"

	kubeletconfig "k8s.io/kubelet/config/v1beta1"

	"github.com/troupe-dev/troupe/actors/image/keyring"
)

// used is what a record keeps of the credential that a pull used; nil is a pull without one. What the node itself has, or
// needs nothing, every pod may use.
func used(by *keyring.Credential) kubeletconfig.ImagePullCredentials {
	switch {
	case by == nil:
	case by.Source.SecretUID != "":
		return kubeletconfig.ImagePullCredentials{KubernetesSecrets: []kubeletconfig.ImagePullSecret{secretOf(by)}}
	case by.Source.ServiceAccountUID != "":
		return kubeletconfig.ImagePullCredentials{KubernetesServiceAccounts: []kubeletconfig.ImagePullServiceAccount{accountOf(by)}}
	}
	return kubeletconfig.ImagePullCredentials{NodePodsAccessible: true}
}

func secretOf(c *keyring.Credential) kubeletconfig.ImagePullSecret {
	return kubeletconfig.ImagePullSecret{UID: c.Source.SecretUID, Namespace: c.Source.Namespace, Name: c.Source.Name, CredentialHash: c.Auth.Hash()}
}

func accountOf(c *keyring.Credential) kubeletconfig.ImagePullServiceAccount {
	return kubeletconfig.ImagePullServiceAccount{UID: c.Source.ServiceAccountUID, Namespace: c.Source.Namespace, Name: c.Source.Name}
}

// merge adds what a pull used to what is known of an image under this name; it reports whether something is new. Access
// for all pods makes the rest superfluous. record is not changed.
func merge(record kubeletconfig.ImagePulledRecord, name string, add kubeletconfig.ImagePullCredentials) (kubeletconfig.ImagePulledRecord, bool) {
	if !add.NodePodsAccessible && len(add.KubernetesSecrets) == 0 && len(add.KubernetesServiceAccounts) == 0 {
		return record, false
	}
	have, known := record.CredentialMapping[name]
	if known && have.NodePodsAccessible {
		return record, false
	}
	next := kubeletconfig.ImagePullCredentials{NodePodsAccessible: true}
	if !add.NodePodsAccessible {
		next = kubeletconfig.ImagePullCredentials{
			KubernetesSecrets:         mergeSecrets(have.KubernetesSecrets, add.KubernetesSecrets),
			KubernetesServiceAccounts: mergeAccounts(have.KubernetesServiceAccounts, add.KubernetesServiceAccounts),
		}
	}
	if known && same(have, next) {
		return record, false
	}
	record.CredentialMapping = maps.Clone(record.CredentialMapping)
	if record.CredentialMapping == nil {
		record.CredentialMapping = map[string]kubeletconfig.ImagePullCredentials{}
	}
	record.CredentialMapping[name] = next
	return record, true
}

func same(a, b kubeletconfig.ImagePullCredentials) bool {
	return a.NodePodsAccessible == b.NodePodsAccessible && slices.Equal(a.KubernetesSecrets, b.KubernetesSecrets) && slices.Equal(a.KubernetesServiceAccounts, b.KubernetesServiceAccounts)
}

// mergeSecrets keeps one entry for each secret, with its newest hash, in a fixed order.
func mergeSecrets(have, add []kubeletconfig.ImagePullSecret) []kubeletconfig.ImagePullSecret {
	out := slices.Clone(have)
	for _, s := range add {
		if i := slices.IndexFunc(out, func(o kubeletconfig.ImagePullSecret) bool { return sameSecret(o, s) }); i >= 0 {
			out[i] = s
		} else {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b kubeletconfig.ImagePullSecret) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return out
}

func sameSecret(a, b kubeletconfig.ImagePullSecret) bool {
	return a.UID == b.UID && a.Namespace == b.Namespace && a.Name == b.Name
}

func mergeAccounts(have, add []kubeletconfig.ImagePullServiceAccount) []kubeletconfig.ImagePullServiceAccount {
	out := slices.Clone(have)
	for _, s := range add {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b kubeletconfig.ImagePullServiceAccount) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return out
}

// judge says whether credentials may use an image that was pulled with those of have. learn is the pod's secret that is
// worth keeping: known content in another secret, or a known secret with other content.
func judge(have kubeletconfig.ImagePullCredentials, creds []keyring.Credential) (ok bool, learn *keyring.Credential) {
	for i := range creds {
		c := &creds[i]
		if c.Source.SecretUID == "" {
			continue
		}
		s := secretOf(c)
		for _, known := range have.KubernetesSecrets {
			hash := known.CredentialHash != "" && known.CredentialHash == s.CredentialHash
			if hash && sameSecret(known, s) {
				return true, nil
			}
			if hash || sameSecret(known, s) {
				ok = true
				if learn == nil && len(have.KubernetesSecrets) < learnMost {
					learn = c
				}
			}
		}
	}
	if ok {
		return true, learn
	}
	for i := range creds {
		if creds[i].Source.ServiceAccountUID != "" {
			// The first one is the pod's: it has one service account.
			return slices.Contains(have.KubernetesServiceAccounts, accountOf(&creds[i])), nil
		}
	}
	return false, nil
}

// learnMost bounds what a record learns from pods that only use an image (the kubelet's writeRecordWhileMatchingLimit).
const learnMost = 100
