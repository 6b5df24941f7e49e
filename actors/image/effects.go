package image

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"
	"k8s.io/klog/v2"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/troupe-dev/troupe/actors/image/imageplan"
	"github.com/troupe-dev/troupe/actors/image/keyring"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/supervisor/runner"
	"github.com/troupe-dev/troupe/supervisor/spawn"
)

// The closures here run in the effect runner: they touch no state of the actor.

const internalError = "internal error"

func (a *actor) inspect(c *spawn.Cell, image string) {
	self, images := c.Self(), a.deps.Images
	a.deps.Runner.Do(c.Context(), runner.Job{
		Lane: runner.Reads, Op: "ImageStatus", Owner: image, Timeout: a.cfg.CallTimeout,
		Fn: func(ctx context.Context) error {
			done := imageplan.Inspected{Image: image}
			info, err := images.ImageStatus(ctx, image)
			if err != nil {
				done.Err = text(err)
			} else if info != nil {
				done.Ref, done.Size = info.ID, info.Size
			}
			self.Tell(done)
			return err
		},
		OnPanic: func(any) { self.Tell(imageplan.Inspected{Image: image, Err: internalError}) },
	})
}

func (a *actor) lookup(c *spawn.Cell, act imageplan.Lookup) {
	ask := a.asks[act.Key]
	if ask == nil {
		return
	}
	self, deps, cfg, pod := c.Self(), a.deps, a.cfg, ask.pod
	found := imageplan.Found{Key: act.Key, Seq: act.Seq}
	a.deps.Runner.Do(c.Context(), runner.Job{
		Lane: runner.API, Op: "pull secrets", Owner: owner(pod), Timeout: cfg.CallTimeout,
		Fn: func(ctx context.Context) error {
			creds, missing, err := deps.credentials(ctx, cfg.NodeConfigDirs, pod, act.Name)
			found.Fingerprint, found.Missing = keyring.Fingerprint(creds), missing
			if err != nil {
				found.Err = err.Error()
			}
			self.Tell(credentials{found, creds})
			return err
		},
		OnPanic: func(any) {
			found.Err = internalError
			self.Tell(credentials{found: found})
		},
	})
}

func (a *actor) authorize(c *spawn.Cell, act imageplan.Authorize) {
	ask := a.asks[act.Key]
	if ask == nil {
		return
	}
	self, deps, cfg, pod := c.Self(), a.deps, a.cfg, ask.pod
	done := imageplan.Authorized{Key: act.Key, Seq: act.Seq}
	a.deps.Runner.Do(c.Context(), runner.Job{
		Lane: runner.API, Op: "image access", Owner: owner(pod), Timeout: cfg.CallTimeout,
		Fn: func(ctx context.Context) error {
			var err error
			done.OK, err = deps.Records.MayUse(ctx, act.Name.Requested, act.Ref, func() ([]keyring.Credential, error) {
				creds, _, err := deps.credentials(ctx, cfg.NodeConfigDirs, pod, act.Name)
				return creds, err
			})
			if err != nil {
				done.Err = err.Error()
			}
			self.Tell(done)
			return err
		},
		OnPanic: func(any) {
			done.Err = internalError
			self.Tell(done)
		},
	})
}

func (a *actor) pull(c *spawn.Cell, act imageplan.StartPull) {
	ask := a.asks[act.By]
	if ask == nil { // cannot be: the plan names a consumer that waits
		c.Self().Tell(imageplan.Pulled{ID: act.ID, Err: internalError, Reason: imageplan.ReasonErrImagePull, Message: internalError})
		return
	}
	ctx, cancel := context.WithCancel(c.Context())
	a.cancels[act.ID] = cancel
	self, deps, pod, creds := c.Self(), a.deps, ask.pod, ask.creds
	a.deps.Runner.Do(ctx, runner.Job{
		Lane: runner.Pulls(act.Name.Host), Op: "PullImage", Owner: act.Name.Requested,
		Fn: func(ctx context.Context) error {
			done := imageplan.Pulled{ID: act.ID}
			begin := time.Now()
			ref, size, err := deps.pull(ctx, pod, act.Name, creds)
			done.Ref, done.Size, done.Took = ref, size, time.Since(begin)
			if err != nil {
				done.Err = err.Error()
				done.Reason, done.Message = failure(act.Name.Requested, done.Err)
				deps.Logger.V(2).Info("Pulling failed", "image", act.Name.Requested, "err", err)
			}
			self.Tell(done)
			return err
		},
		OnPanic: func(any) {
			self.Tell(imageplan.Pulled{ID: act.ID, Err: internalError, Reason: imageplan.ReasonErrImagePull, Message: internalError})
		},
	})
}

// pull tries the credentials in turn; without any it pulls anonymously. The errors of all tries are returned.
func (d *Deps) pull(ctx context.Context, pod *v1.Pod, name imageplan.Name, creds []keyring.Credential) (ref string, size model.Bytes, err error) {
	if d.Records != nil {
		if err := d.Records.Intend(name.Requested); err != nil {
			return "", 0, fmt.Errorf("Failed to record image pull intent for container image %q: %w", name.Requested, err) //nolint:staticcheck // the kubelet's text
		}
	}
	sandbox := &runtimeapi.PodSandboxConfig{
		Metadata:    &runtimeapi.PodSandboxMetadata{Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID)},
		Annotations: pod.Annotations,
	}
	tries := creds
	if len(tries) == 0 {
		tries = []keyring.Credential{{}}
	}
	var failed []error
	for i := range tries {
		var auth *runtimeapi.AuthConfig
		var by *keyring.Credential
		if len(creds) > 0 {
			by = &creds[i]
			auth = &runtimeapi.AuthConfig{Username: by.Auth.Username, Password: by.Auth.Password}
		}
		ref, err := d.Images.PullImage(ctx, name.Full, auth, sandbox)
		if err != nil {
			failed = append(failed, errors.New(text(err)))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		if d.Records != nil {
			d.Records.Pulled(name.Requested, ref, by)
		}
		// The size is for the event only.
		if info, err := d.Images.ImageStatus(ctx, name.Full); err == nil && info != nil {
			size = info.Size
		}
		return ref, size, nil
	}
	if d.Records != nil {
		d.Records.Failed(name.Requested)
	}
	return "", 0, utilerrors.NewAggregate(failed)
}

// text returns an error as statuses and events show it: a runtime's own words without gRPC's wrapping, if all that this
// adds is that the code is unknown.
func text(err error) string {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		st := s.GRPCStatus()
		if st.Code() == codes.Unknown {
			return st.Message()
		}
		return st.Err().Error()
	}
	return err.Error()
}

// failure sorts a pull's error by the names that CRI agreed on.
func failure(image, err string) (reason, message string) {
	for _, known := range []struct {
		err          error
		reason, what string
	}{
		{crierrors.ErrRegistryUnavailable, imageplan.ReasonRegistryUnavailable, "the registry is unavailable"},
		{crierrors.ErrSignatureValidationFailed, imageplan.ReasonSignatureValidationFailed, "the signature validation failed"},
	} {
		if rest, ok := strings.CutPrefix(err, known.err.Error()); ok {
			return known.reason, fmt.Sprintf("image pull failed for %s because %s%s", image, known.what, rest)
		}
	}
	return imageplan.ReasonErrImagePull, err
}

func owner(pod *v1.Pod) string { return klog.KObj(pod).String() }
