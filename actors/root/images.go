package root

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"

	"github.com/troupe-dev/troupe/actors/image"
	"github.com/troupe-dev/troupe/actors/image/plugins"
	"github.com/troupe-dev/troupe/actors/image/pullrecords"
	"github.com/troupe-dev/troupe/actors/imagegc"
	"github.com/troupe-dev/troupe/actors/imagegc/imagegcplan"
	"github.com/troupe-dev/troupe/actors/volume"
)

// startImages makes the /images actor with its records and plugins. Its errors are about the configuration.
func (a *Agent) startImages(d Deps, cfg Config, secrets volume.Objects, tokens volume.Tokens, recorder record.EventRecorder) error {
	k := cfg.Kubelet
	deps := image.Deps{Images: d.Images, Runner: a.Runner, Logger: d.Logger, Recorder: recorder, Secrets: secrets}
	if k.ImagePullCredentialsVerificationPolicy != "" { // it has no value without its feature gate
		policy, err := pullrecords.NewPolicy(k.ImagePullCredentialsVerificationPolicy, k.PreloadedImagesVerificationAllowlist)
		if err != nil {
			return err
		}
		if a.upkeep.records, err = pullrecords.Open(cfg.RootDir, policy, d.Images, d.Logger); err != nil {
			return err
		}
		deps.Records = a.upkeep.records
	}
	if cfg.CredentialProviderConfig != "" {
		list, err := plugins.Load(cfg.CredentialProviderConfig, cfg.CredentialProviderBinDir, gate(k, "KubeletServiceAccountTokenForCredentialProviders"))
		if err != nil {
			return err
		}
		var accounts plugins.Accounts
		if d.Main != nil {
			accounts = podAccounts{d.Main, tokens}
		}
		deps.Plugins = plugins.New(list, cfg.CredentialProviderBinDir, accounts, d.Logger)
	}
	a.refs.images.set(a.System.Root("images", "images", image.New(deps, imageConfig(cfg))))
	return nil
}

// gate says whether a feature gate that is on by default is on.
func gate(k *kubeletconfig.KubeletConfiguration, name string) bool {
	on, set := k.FeatureGates[name]
	return on || !set
}

// podAccounts reads service accounts and makes tokens of them.
type podAccounts struct {
	client kubernetes.Interface
	volume.Tokens
}

// ServiceAccount implements plugins.Accounts.
func (p podAccounts) ServiceAccount(ctx context.Context, namespace, name string) (*v1.ServiceAccount, error) {
	account, err := p.client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, fmt.Errorf("service account %s/%s: %w", namespace, name, err)
	}
	return account, nil
}

// startImageGC makes the actor that removes unused images. A run from files leaves them alone: its runtime may be others',
// and the next run wants them.
func (a *Agent) startImageGC(d Deps, cfg Config) {
	if cfg.Embedded {
		return
	}
	k := cfg.Kubelet
	policy := imagegcplan.Policy{High: 100, Low: 100, MinAge: k.ImageMinimumGCAge.Duration, MaxAge: k.ImageMaximumGCAge.Duration}
	if k.ImageGCHighThresholdPercent != nil && k.ImageGCLowThresholdPercent != nil {
		policy.High, policy.Low = int(*k.ImageGCHighThresholdPercent), int(*k.ImageGCLowThresholdPercent)
	}
	deps := imagegc.Deps{Images: d.Images, Runtime: d.Runtime, Runner: a.Runner, Pods: a.Table, Event: a.nodeEvent, Logger: d.Logger}
	if a.upkeep.records != nil {
		deps.Records = a.upkeep.records
	}
	a.upkeep.images.set(a.System.Root("image-gc", imagegc.Kind, imagegc.New(deps, imagegc.Config{
		Policy: policy, Began: time.Now(), CallTimeout: k.RuntimeRequestTimeout.Duration,
	})))
}
