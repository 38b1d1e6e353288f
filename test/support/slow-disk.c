// A disk that is slow to sync: preloaded into a process, delays fsync and fdatasync by as many milliseconds as the
// file SLOW_DISK_CONTROL says. The file is looked at while a sync waits, so that a stall can be ended from outside;
// a file `<control>.held` appears when a sync is being held.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const long lookEveryMs = 2;

static long nowMs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static long delayMs(const char *control) {
  int file = open(control, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[24] = {0};
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  return length > 0 ? strtol(text, NULL, 10) : 0;
}

static void tellHeld(const char *control) {
  char path[4096];
  if (snprintf(path, sizeof path, "%s.held", control) >= (int)sizeof path) return;
  int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file >= 0) close(file);
}

static void hold(void) {
  const char *control = getenv("SLOW_DISK_CONTROL");
  if (control == NULL || delayMs(control) <= 0) return;
  tellHeld(control);
  long beginMs = nowMs();
  struct timespec pause = {0, lookEveryMs * 1000000};
  while (nowMs() - beginMs < delayMs(control)) nanosleep(&pause, NULL);
}

int fsync(int file) {
  hold();
  return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
  hold();
  return (int)syscall(SYS_fdatasync, file);
}
