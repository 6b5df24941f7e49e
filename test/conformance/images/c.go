package images

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Two programs that the suite's images have and that are too small for anything but C.
const (
	// pauseC is the first process of a sandbox: it waits, reaps the orphans of a shared process namespace, ends at once when asked.
	pauseC = `#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int s) { (void)s; _exit(0); }
static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) {
	struct sigaction e = {.sa_handler = end}, r = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
	sigaction(SIGINT, &e, 0); sigaction(SIGTERM, &e, 0); sigaction(SIGCHLD, &r, 0);
	for (;;) pause();
}
`
	// nnpC tells the effective user: set-uid, so that no_new_privs shows.
	nnpC = `#include <stdio.h>
#include <unistd.h>
int main(void) { printf("Effective uid: %u\n", (unsigned)geteuid()); return 0; }
`
)

// compile gives the static program of a C source.
func compile(source string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "troupe-image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	src, out := filepath.Join(dir, "a.c"), filepath.Join(dir, "a")
	if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
		return nil, err
	}
	if b, err := exec.Command("gcc", "-Os", "-static", "-s", "-o", out, src).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile: %w: %s", err, b)
	}
	return os.ReadFile(out)
}
