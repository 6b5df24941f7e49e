package nodestatus

import (
	"cmp"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// maxNames is how many names of one image the status shows.
const maxNames = 5

// Images is the list for the status: the largest first, at most most (all when negative). It is never nil.
func Images(list []model.ImageInfo, most int) []v1.ContainerImage {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b model.ImageInfo) int {
		if c := cmp.Compare(b.Size, a.Size); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	if most >= 0 && len(list) > most {
		list = list[:most]
	}
	images := make([]v1.ContainerImage, 0, len(list))
	for _, i := range list {
		names := slices.Concat(i.RepoDigests, i.RepoTags)
		images = append(images, v1.ContainerImage{Names: names[:min(len(names), maxNames)], SizeBytes: int64(i.Size)})
	}
	return images
}
