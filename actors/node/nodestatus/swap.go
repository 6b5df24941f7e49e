package nodestatus

import "k8s.io/apimachinery/pkg/util/version"

// noSwapKernel is the first kernel whose tmpfs can be kept out of the swap (tmpfs(5), option noswap).
const noSwapKernel = "6.4"

// VolumesMaySwap says that what volumes hold in memory, secrets among it, may come to lie on a disk: the machine has swap,
// and its kernel cannot keep a tmpfs out of it. An unknown kernel counts as one that cannot.
func (m Machine) VolumesMaySwap() bool {
	if m.Swap == 0 {
		return false
	}
	kernel, err := version.ParseGeneric(m.Kernel)
	return err != nil || !kernel.AtLeast(version.MustParseGeneric(noSwapKernel))
}
