package containerspec

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/actors/pod/sandboxspec"
)

// Paths of /proc and /sys that a container with the default procMount must not see or write; the runtime-spec's
// defaults as the kubelet passes them.
var (
	maskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// User is the user that the image names: a number, a name, or neither.
type User struct {
	UID  *int64
	Name string
}

// security is the container's security context: its own fields over the pod's.
func security(in *Input) (*runtimeapi.LinuxContainerSecurityContext, error) {
	pod, own := in.Pod.Spec.SecurityContext, in.Container.SecurityContext
	if pod == nil {
		pod = &v1.PodSecurityContext{}
	}
	if own == nil {
		own = &v1.SecurityContext{}
	}
	s := &runtimeapi.LinuxContainerSecurityContext{
		Privileged:               isTrue(own.Privileged),
		ReadonlyRootfs:           isTrue(own.ReadOnlyRootFilesystem),
		NoNewPrivs:               own.AllowPrivilegeEscalation != nil && !*own.AllowPrivilegeEscalation,
		NamespaceOptions:         sandboxspec.Namespaces(in.Pod, in.Userns),
		SupplementalGroups:       append(sandboxspec.Groups(pod), in.ExtraGroups...),
		SupplementalGroupsPolicy: sandboxspec.GroupsPolicy(pod),
	}
	user := pick(own.RunAsUser, pod.RunAsUser)
	if err := nonRoot(in, user, pick(own.RunAsNonRoot, pod.RunAsNonRoot)); err != nil {
		return nil, err
	}
	switch {
	case user != nil:
		s.RunAsUser = &runtimeapi.Int64Value{Value: *user}
	case in.ImageUser.UID != nil:
		s.RunAsUser = &runtimeapi.Int64Value{Value: *in.ImageUser.UID}
	default:
		s.RunAsUsername = in.ImageUser.Name
	}
	if g := pick(own.RunAsGroup, pod.RunAsGroup); g != nil {
		s.RunAsGroup = &runtimeapi.Int64Value{Value: *g}
	}
	if c := own.Capabilities; c != nil {
		s.Capabilities = &runtimeapi.Capability{}
		for _, x := range c.Add {
			s.Capabilities.AddCapabilities = append(s.Capabilities.AddCapabilities, string(x))
		}
		for _, x := range c.Drop {
			s.Capabilities.DropCapabilities = append(s.Capabilities.DropCapabilities, string(x))
		}
	}
	if o := pick(own.SELinuxOptions, pod.SELinuxOptions); o != nil {
		s.SelinuxOptions = &runtimeapi.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
	}
	if own.ProcMount == nil || *own.ProcMount != v1.UnmaskedProcMount {
		s.MaskedPaths, s.ReadonlyPaths = append(slices.Clip(maskedPaths), in.Node.Masked...), readonlyPaths
	}
	var err error
	if s.Seccomp, err = seccomp(in, pick(own.SeccompProfile, pod.SeccompProfile)); err != nil {
		return nil, err
	}
	if err := appArmor(in, s, pick(own.AppArmorProfile, pod.AppArmorProfile)); err != nil {
		return nil, err
	}
	if in.TargetContainer != "" && s.NamespaceOptions.Pid == runtimeapi.NamespaceMode_CONTAINER {
		s.NamespaceOptions.Pid = runtimeapi.NamespaceMode_TARGET
		s.NamespaceOptions.TargetId = in.TargetContainer
	}
	return s, nil
}

// TargetName is the container whose processes an ephemeral container wants to see; "" for none.
func TargetName(pod *v1.Pod, name string) string {
	for i := range pod.Spec.EphemeralContainers {
		if c := &pod.Spec.EphemeralContainers[i]; c.Name == name {
			return c.TargetContainerName
		}
	}
	return ""
}

func pick[T any](own, pod *T) *T {
	if own != nil {
		return own
	}
	return pod
}

// nonRoot checks runAsNonRoot; an image whose user is a name cannot be checked and is refused.
func nonRoot(in *Input, user *int64, must *bool) error {
	if !isTrue(must) {
		return nil
	}
	who := fmt.Sprintf("(pod: \"%s_%s(%s)\", container: %s)", in.Pod.Name, in.Pod.Namespace, in.Pod.UID, in.Container.Name)
	image := in.ImageUser
	switch {
	case user != nil && *user == 0:
		return fmt.Errorf("container's runAsUser breaks non-root policy %s", who)
	case user != nil:
		return nil
	case image.UID == nil && image.Name != "":
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", image.Name, who)
	case image.UID != nil && *image.UID == 0:
		return fmt.Errorf("container has runAsNonRoot and image will run as root %s", who)
	case image.UID != nil && (*image.UID < 0 || *image.UID > math.MaxInt32):
		errs := validation.IsValidUserID(*image.UID)
		return fmt.Errorf("container has runAsNonRoot and image has an invalid user id (%d). (Must be 1-(%d)): %s %s", *image.UID, math.MaxInt32, strings.Join(errs, "; "), who)
	}
	return nil
}

func seccomp(in *Input, p *v1.SeccompProfile) (*runtimeapi.SecurityProfile, error) {
	kind := runtimeapi.SecurityProfile_Unconfined
	if p == nil {
		if in.SeccompDefault {
			kind = runtimeapi.SecurityProfile_RuntimeDefault
		}
		return &runtimeapi.SecurityProfile{ProfileType: kind}, nil
	}
	switch p.Type {
	case v1.SeccompProfileTypeRuntimeDefault:
		kind = runtimeapi.SecurityProfile_RuntimeDefault
	case v1.SeccompProfileTypeLocalhost:
		if p.LocalhostProfile == nil || *p.LocalhostProfile == "" {
			return nil, fmt.Errorf("localhostProfile must be set if seccompProfile type is Localhost")
		}
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: filepath.Join(in.SeccompRoot, *p.LocalhostProfile)}, nil
	case v1.SeccompProfileTypeUnconfined:
	}
	return &runtimeapi.SecurityProfile{ProfileType: kind}, nil
}

// appArmor sets the profile of the fields, or of the annotation that came before them.
func appArmor(in *Input, s *runtimeapi.LinuxContainerSecurityContext, p *v1.AppArmorProfile) error {
	if p == nil {
		if a, ok := in.Pod.Annotations[v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+in.Container.Name]; ok {
			p = fromAnnotation(a)
		}
	}
	if p == nil {
		return nil
	}
	switch p.Type {
	case v1.AppArmorProfileTypeRuntimeDefault:
		s.Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
		s.ApparmorProfile = v1.DeprecatedAppArmorBetaProfileRuntimeDefault
	case v1.AppArmorProfileTypeUnconfined:
		s.Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
		s.ApparmorProfile = v1.DeprecatedAppArmorBetaProfileNameUnconfined
	case v1.AppArmorProfileTypeLocalhost:
		if p.LocalhostProfile == nil {
			return fmt.Errorf("missing localhost apparmor profile name")
		}
		s.Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: *p.LocalhostProfile}
		s.ApparmorProfile = v1.DeprecatedAppArmorBetaProfileNamePrefix + *p.LocalhostProfile
	}
	return nil
}

func fromAnnotation(a string) *v1.AppArmorProfile {
	switch {
	case a == v1.DeprecatedAppArmorBetaProfileRuntimeDefault:
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeRuntimeDefault}
	case a == v1.DeprecatedAppArmorBetaProfileNameUnconfined:
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeUnconfined}
	case len(a) > len(v1.DeprecatedAppArmorBetaProfileNamePrefix) && a[:len(v1.DeprecatedAppArmorBetaProfileNamePrefix)] == v1.DeprecatedAppArmorBetaProfileNamePrefix:
		name := a[len(v1.DeprecatedAppArmorBetaProfileNamePrefix):]
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeLocalhost, LocalhostProfile: &name}
	}
	return nil
}
