/* The process that holds a pod sandbox open: it sleeps, ends on SIGINT and SIGTERM and reaps what is left to it. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void leave(int s) { _exit(s == SIGINT || s == SIGTERM ? 0 : 1); }
static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0) ; }

int main(void) {
  struct sigaction a = {.sa_handler = leave}, r = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
  sigaction(SIGINT, &a, 0);
  sigaction(SIGTERM, &a, 0);
  sigaction(SIGCHLD, &r, 0);
  for (;;) pause();
}
