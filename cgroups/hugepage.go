package cgroups

import (
	"fmt"
	"sort"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/troupe-dev/troupe/messages/model"
)

// unlimitedHugePages is what the QoS tiers get, so that only the pods below them are limited.
const unlimitedHugePages uint64 = 1 << 62

// PageSizeName returns the kernel's name of a huge page size in its hugetlb control files: 2MB, 1GB.
func PageSizeName(size model.Bytes) string {
	units := [...]string{"B", "KB", "MB", "GB", "TB", "PB"}
	i := 0
	for i < len(units)-1 && size != 0 && size%1024 == 0 {
		size /= 1024
		i++
	}
	return fmt.Sprintf("%d%s", size, units[i])
}

// hugePageLimits returns one limit for each page size of the node: what the list asks for, else 0. A size that the node
// does not have is left out: there is no file to write it to.
func hugePageLimits(list v1.ResourceList, sizes []model.Bytes) []specs.LinuxHugepageLimit {
	asked := map[model.Bytes]uint64{}
	for name, q := range list {
		s, ok := strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix)
		if !ok {
			continue
		}
		if size, err := resource.ParseQuantity(s); err == nil {
			asked[model.Bytes(size.Value())] += uint64(max(q.Value(), 0))
		}
	}
	return eachPageSize(sizes, func(size model.Bytes) uint64 { return asked[size] })
}

func eachPageSize(sizes []model.Bytes, limit func(model.Bytes) uint64) []specs.LinuxHugepageLimit {
	out := make([]specs.LinuxHugepageLimit, 0, len(sizes))
	for _, size := range sizes {
		out = append(out, specs.LinuxHugepageLimit{Pagesize: PageSizeName(size), Limit: limit(size)})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Pagesize < out[j].Pagesize })
	return out
}
