package kubeletflags

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"

	"github.com/troupe-dev/troupe/cmd/troupe/kubeletconfig"
)

// ip is a flag that takes an address.
type ip struct{ value *string }

func (v ip) Type() string { return "ip" }
func (v ip) String() string {
	if v.value == nil {
		return ""
	}
	return *v.value
}

func (v ip) Set(s string) error {
	if _, err := netip.ParseAddr(s); err != nil {
		return fmt.Errorf("%q is not an IP address", s)
	}
	*v.value = s
	return nil
}

// taints is a flag that takes key=value:effect,…; the last one given counts.
type taints struct{ value *[]corev1.Taint }

func (v taints) Type() string { return "[]v1.Taint" }
func (v taints) String() string {
	if v.value == nil {
		return ""
	}
	var out []string
	for _, t := range *v.value {
		out = append(out, fmt.Sprintf("%s=%s:%s", t.Key, t.Value, t.Effect))
	}
	return strings.Join(out, ",")
}

func (v taints) Set(s string) error {
	var out []corev1.Taint
	seen := map[string]bool{}
	for text := range strings.SplitSeq(s, ",") {
		if text == "" {
			continue
		}
		head, effect, found := strings.Cut(text, ":")
		key, val, _ := strings.Cut(head, "=")
		t := corev1.Taint{Key: key, Value: val, Effect: corev1.TaintEffect(effect)}
		if !found || effect == "" {
			return fmt.Errorf("%q has no effect; write key=value:NoSchedule", text)
		}
		if problems := kubeletconfig.TaintProblems(t); len(problems) > 0 {
			return fmt.Errorf("%q: %s", text, strings.Join(problems, "; "))
		}
		if id := key + ":" + effect; seen[id] {
			return fmt.Errorf("%q: key and effect are given twice", text)
		} else {
			seen[id] = true
		}
		out = append(out, t)
	}
	*v.value = out
	return nil
}

// reservedMemory is a flag that takes node:type=amount,…;node:… and may be
// repeated; the first one replaces what the file says.
type reservedMemory struct {
	value *[]kubeletconfigv1beta1.MemoryReservation
	given bool
}

func (v *reservedMemory) Type() string { return "reserved-memory" }
func (v *reservedMemory) String() string {
	if v == nil || v.value == nil {
		return ""
	}
	var out []string
	for _, r := range *v.value {
		var limits []string
		for _, name := range slices.Sorted(maps.Keys(r.Limits)) {
			q := r.Limits[name]
			limits = append(limits, string(name)+"="+q.String())
		}
		out = append(out, fmt.Sprintf("%d:%s", r.NumaNode, strings.Join(limits, ",")))
	}
	return strings.Join(out, ";")
}

func (v *reservedMemory) Set(s string) error {
	if !v.given {
		*v.value, v.given = nil, true
	}
	for text := range strings.SplitSeq(s, ";") {
		if text == "" {
			continue
		}
		node, limits, found := strings.Cut(text, ":")
		n, err := strconv.ParseInt(node, 10, 32)
		if !found || err != nil {
			return fmt.Errorf("%q is not of the form node:type=amount,type=amount", text)
		}
		r := kubeletconfigv1beta1.MemoryReservation{NumaNode: int32(n), Limits: corev1.ResourceList{}}
		for limit := range strings.SplitSeq(limits, ",") {
			name, amount, _ := strings.Cut(limit, "=")
			if name != string(corev1.ResourceMemory) && !strings.HasPrefix(name, corev1.ResourceHugePagesPrefix) {
				return fmt.Errorf("%q: %q is neither memory nor hugepages-<size>", text, name)
			}
			q, err := resource.ParseQuantity(amount)
			if err != nil {
				return fmt.Errorf("%q: %q is not an amount such as 1Gi", text, amount)
			}
			r.Limits[corev1.ResourceName(name)] = q
		}
		*v.value = append(*v.value, r)
	}
	return nil
}

// discard takes any value and keeps none.
type discard struct {
	kind    string
	initial string
}

func (d discard) Set(string) error { return nil }
func (d discard) String() string   { return d.initial }
func (d discard) Type() string     { return d.kind }

// IsBoolFlag lets --flag stand for --flag=true.
func (d discard) IsBoolFlag() bool { return d.kind == "bool" }

func addNoop(fs *pflag.FlagSet, n noop, usage string) {
	kind := "string"
	if n.boolean {
		kind = "bool"
	}
	fs.Var(discard{kind, n.initial}, n.name, usage)
	if n.boolean {
		fs.Lookup(n.name).NoOptDefVal = "true"
	}
}
