package criconformance

import "slices"

func imageStatus(s *suite) {
	i, err := s.Images.ImageStatus(s.ctx, s.Image)
	s.ok("ImageStatus", err)
	if i == nil {
		s.Fatalf("image %s is not there", s.Image)
	}
	if i.ID == "" || i.Size <= 0 || !slices.Contains(i.RepoTags, s.Image) {
		s.Errorf("image %+v", i)
	}
	byID, err := s.Images.ImageStatus(s.ctx, i.ID)
	s.ok("ImageStatus by id", err)
	if byID == nil || byID.ID != i.ID {
		s.Errorf("by id: %+v", byID)
	}
	none, err := s.Images.ImageStatus(s.ctx, "example.invalid/none:1")
	s.ok("ImageStatus of an absent image", err)
	if none != nil {
		s.Errorf("absent image: %+v", none)
	}
	ls, err := s.Images.ListImages(s.ctx)
	s.ok("ListImages", err)
	found := false
	for _, l := range ls {
		found = found || l.ID == i.ID
	}
	if !found {
		s.Errorf("image %s is not listed", s.Image)
	}
}

func imagePull(s *suite) {
	if s.PullableImage == "" {
		s.Log("the target has no image to pull")
		return
	}
	ref, err := s.Images.PullImage(s.ctx, s.PullableImage, nil, nil)
	s.ok("PullImage", err)
	i, err := s.Images.ImageStatus(s.ctx, s.PullableImage)
	s.ok("ImageStatus", err)
	if i == nil || ref == "" {
		s.Fatalf("pulled %q as %q, but the status is %+v", s.PullableImage, ref, i)
	}
	if byRef, err := s.Images.ImageStatus(s.ctx, ref); err != nil || byRef == nil || byRef.ID != i.ID {
		s.Errorf("the reference %q does not lead to the image: %+v, %v", ref, byRef, err)
	}
	s.ok("RemoveImage", s.Images.RemoveImage(s.ctx, s.PullableImage))
	if i, err = s.Images.ImageStatus(s.ctx, s.PullableImage); err != nil || i != nil {
		s.Errorf("after the removal: %+v, %v", i, err)
	}
}

func imageFs(s *suite) {
	fs, err := s.Images.ImageFsInfo(s.ctx)
	s.ok("ImageFsInfo", err)
	if len(fs.GetImageFilesystems()) == 0 || fs.GetImageFilesystems()[0].GetFsId().GetMountpoint() == "" {
		s.Errorf("%v", fs)
	}
}
