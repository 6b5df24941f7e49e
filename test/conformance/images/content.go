package images

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Sources are what the images are made of.
type Sources struct {
	Debian     string // folder with unpacked Debian packages
	Busybox    string // static busybox with all applets
	Agnhost    string // the suite's own test server
	Kubernetes string // folder of the Kubernetes module: agnhost's certificate is there
}

// image is one set of files under the names that the suite calls it by.
type image struct {
	name  string
	tags  []string
	files files
	conf  v1.Config
}

const (
	registryHost = "registry.k8s.io/"
	suiteImages  = registryHost + "e2e-test-images/"
	searchPath   = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// PauseImage is the sandbox image of the runtime.
const PauseImage = registryHost + "pause:3.10"

// all are the images that the node specs use, with the tags of this Kubernetes version.
func all(s Sources) ([]image, error) {
	pause, err := compile(pauseC)
	if err != nil {
		return nil, err
	}
	nnp, err := compile(nnpC)
	if err != nil {
		return nil, err
	}
	base, err := shell(s.Busybox)
	if err != nil {
		return nil, err
	}
	conf := v1.Config{Cmd: []string{"sh"}, Env: []string{searchPath}}
	list := []image{
		{name: "pause", tags: []string{PauseImage, registryHost + "pause:3.10.1", registryHost + "pause:3.10.2"},
			files: files{"/pause": {data: pause, mode: 0o755}}, conf: v1.Config{Entrypoint: []string{"/pause"}, User: "65535:65535"}},
		{name: "busybox", tags: []string{suiteImages + "busybox:1.37.0-1", suiteImages + "busybox:1.36.1-1", "docker.io/library/busybox:latest"}, files: base, conf: conf},
	}
	nonroot := conf
	nonroot.User = "1234"
	list = append(list, image{name: "nonroot", tags: []string{suiteImages + "nonroot:1.5"}, files: base, conf: nonroot})

	f := base.clone()
	f.bytes("/usr/local/bin/nnp", nnp, 0o6755)
	list = append(list, image{name: "nonewprivs", tags: []string{suiteImages + "nonewprivs:1.4"}, files: f, conf: v1.Config{Cmd: []string{"nnp"}, Env: conf.Env}})

	f = base.clone() // the GNU C library's resolver, not busybox's
	if err := f.program(s.Debian, "/bin/hostname", "/bin/hostname"); err != nil {
		return nil, err
	}
	f.symlink("/bin/dnsdomainname", "hostname")
	list = append(list, image{name: "glibc-dns-testing", tags: []string{suiteImages + "glibc-dns-testing:2.0.0"}, files: f, conf: conf})

	agnhost, err := agnhostImage(s, base, pause)
	if err != nil {
		return nil, err
	}
	nginx, err := nginxImage(s, base)
	if err != nil {
		return nil, err
	}
	return append(list, agnhost, nginx), nil
}

// shell is busybox with a link for every applet, and the users that specs ask for.
func shell(busybox string) (files, error) {
	out, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list busybox's applets: %w", err)
	}
	f := files{}
	if err := f.copy("/bin/busybox", busybox, 0o755); err != nil {
		return nil, err
	}
	for _, a := range bytes.Fields(out) {
		if string(a) != "busybox" {
			f.symlink("/bin/"+string(a), "/bin/busybox")
		}
	}
	f.symlink("/bin/bash", "/bin/busybox")
	// Specs test a privilege by adding a dummy device; kernels without that driver still have bridges, which ask for the same one.
	delete(f, "/bin/ip")
	f.bytes("/bin/ip", []byte(`#!/bin/sh
if [ "$1 $2 $4 $5" = "link add type dummy" ]; then exec /bin/busybox ip link add "$3" type bridge; fi
exec /bin/busybox ip "$@"
`), 0o755)
	f.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\nuser-defined-in-image:x:1000:1000::/:/bin/sh\n")
	f.text("/etc/group", "root:x:0:\nuser-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\nnogroup:x:65533:\nnobody:x:65534:\n")
	for _, d := range []string{"/etc", "/home", "/mnt", "/uploads", "/usr/share", "/var"} {
		f.folder(d, 0o755)
	}
	f.folder("/root", 0o700)
	f.folder("/tmp", 0o1777)
	return f, nil
}

// agnhostImage is the test server with the tools that specs run beside it.
func agnhostImage(s Sources, base files, pause []byte) (image, error) {
	f := base.clone()
	if err := f.copy("/agnhost", s.Agnhost, 0o755); err != nil {
		return image{}, err
	}
	f.symlink("/agnhost-2", "agnhost")
	f.bytes("/pause", pause, 0o755)
	for to, from := range map[string]string{"bash": "/bin/bash", "curl": "/usr/bin/curl", "dig": "/usr/bin/dig", "ip": "/sbin/ip",
		"ipcs": "/usr/bin/ipcs", "nc": "/bin/nc.openbsd", "ss": "/bin/ss"} {
		if err := f.program(s.Debian, from, "/bin/"+to); err != nil {
			return image{}, err
		}
	}
	for _, n := range []string{"localhost.crt", "localhost.key"} {
		if err := f.copy("/"+n, filepath.Join(s.Kubernetes, "test/images/agnhost/porter", n), 0o644); err != nil {
			return image{}, err
		}
	}
	small := image{files: files{"/pause": {data: pause, mode: 0o755}}, conf: v1.Config{Entrypoint: []string{"/pause"}, User: "65535:65535"}}
	img, err := small.pack("pause:testing")
	if err != nil {
		return image{}, err
	}
	if err := f.nest("/var/registry/pause", "testing", img); err != nil {
		return image{}, err
	}
	ports := map[string]struct{}{}
	for _, p := range strings.Fields("80 5000 8080 8081 9376") {
		ports[p+"/tcp"] = struct{}{}
	}
	return image{name: "agnhost", tags: []string{suiteImages + "agnhost:2.63.0", suiteImages + "agnhost:2.55", suiteImages + "agnhost:2.53"}, files: f,
		conf: v1.Config{Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}, Env: []string{searchPath}, ExposedPorts: ports}}, nil
}

func nginxImage(s Sources, base files) (image, error) {
	f := base.clone()
	if err := f.program(s.Debian, "/usr/sbin/nginx", "/usr/sbin/nginx"); err != nil {
		return image{}, err
	}
	f.text("/etc/nginx/nginx.conf", "pid /var/run/nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\n\taccess_log /dev/stdout;\n\tserver { listen 80; root /usr/share/nginx/html; }\n}\n")
	f.text("/usr/share/nginx/html/index.html", "<title>Welcome to nginx!</title>\n")
	for _, d := range []string{"/var/lib/nginx", "/var/log/nginx", "/var/run"} {
		f.folder(d, 0o777)
	}
	return image{name: "nginx", tags: []string{suiteImages + "nginx:1.27-0", suiteImages + "nginx:1.15-4", suiteImages + "nginx:1.14-4", "docker.io/library/nginx:latest"}, files: f,
		conf: v1.Config{Cmd: []string{"nginx", "-g", "daemon off;"}, Env: []string{searchPath}, ExposedPorts: map[string]struct{}{"80/tcp": {}}}}, nil
}
