package images

import (
	"archive/tar"
	"bytes"
	"os"
	"path"
	"sort"
)

// entry is one file of an image.
type entry struct {
	data []byte
	link string // a symbolic link to this, when not empty
	dir  bool
	mode int64
}

// files are the content of an image by absolute path.
type files map[string]entry

func (f files) text(p, s string)                     { f[p] = entry{data: []byte(s), mode: 0o644} }
func (f files) folder(p string, mode int64)          { f[p] = entry{dir: true, mode: mode} }
func (f files) symlink(p, to string)                 { f[p] = entry{link: to, mode: 0o777} }
func (f files) bytes(p string, b []byte, mode int64) { f[p] = entry{data: b, mode: mode} }

// copy takes a file of this machine.
func (f files) copy(p, from string, mode int64) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f.bytes(p, b, mode)
	return nil
}

func (f files) clone() files {
	c := make(files, len(f))
	for k, v := range f {
		c[k] = v
	}
	return c
}

// layer writes the files as a tar, parents before children and in one order: the same files give the same bytes.
func (f files) layer() ([]byte, error) {
	all := f.clone()
	for p := range f {
		for d := path.Dir(p); d != "/" && d != "."; d = path.Dir(d) {
			if _, ok := all[d]; !ok {
				all[d] = entry{dir: true, mode: 0o755}
			}
		}
	}
	names := make([]string, 0, len(all))
	for p := range all {
		names = append(names, p)
	}
	sort.Strings(names)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, p := range names {
		e := all[p]
		h := &tar.Header{Typeflag: tar.TypeReg, Name: p[1:], Mode: e.mode, Size: int64(len(e.data))}
		switch {
		case e.dir:
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		case e.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}
