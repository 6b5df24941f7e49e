package remote

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// ImageStatus implements cri.Images.
func (c *Client) ImageStatus(ctx context.Context, image string) (*model.ImageInfo, error) {
	resp, err := c.images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: image}})
	if err != nil {
		return nil, fail("status of image", image, err)
	}
	if resp.GetImage() == nil {
		return nil, nil
	}
	info := imageOf(resp.GetImage())
	return &info, nil
}

// ListImages implements cri.Images.
func (c *Client) ListImages(ctx context.Context) ([]model.ImageInfo, error) {
	resp, err := c.images.ListImages(ctx, &runtimeapi.ListImagesRequest{})
	if err != nil {
		return nil, fail("list images", "", err)
	}
	out := make([]model.ImageInfo, 0, len(resp.GetImages()))
	for _, i := range resp.GetImages() {
		out = append(out, imageOf(i))
	}
	return out, nil
}

// PullImage implements cri.Images.
func (c *Client) PullImage(ctx context.Context, image string, auth *runtimeapi.AuthConfig, sandboxConfig *runtimeapi.PodSandboxConfig) (string, error) {
	resp, err := c.images.PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: image}, Auth: auth, SandboxConfig: sandboxConfig})
	if err != nil {
		return "", fail("pull image", image, err)
	}
	return resp.GetImageRef(), nil
}

// RemoveImage implements cri.Images.
func (c *Client) RemoveImage(ctx context.Context, image string) error {
	_, err := c.images.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: image}})
	return fail("remove image", image, err)
}

// ImageFsInfo implements cri.Images.
func (c *Client) ImageFsInfo(ctx context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	resp, err := c.images.ImageFsInfo(ctx, &runtimeapi.ImageFsInfoRequest{})
	if err != nil {
		return nil, fail("file systems of the image store", "", err)
	}
	return resp, nil
}
