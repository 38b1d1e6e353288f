// A disk that fails to read: preloaded into a process, fails so many reads of tables (`*.sst`) with EIO as the file
// FAILING_DISK_CONTROL says, and counts them down there.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int isTable(int file) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 4) return 0;
  path[length] = 0;
  return strcmp(path + length - 4, ".sst") == 0;
}

static int mustFail(int file) {
  const char *control = getenv("FAILING_DISK_CONTROL");
  if (control == NULL || !isTable(file)) return 0;
  int counter = open(control, O_RDWR | O_CLOEXEC);
  if (counter < 0) return 0;
  char text[24] = {0};
  ssize_t length = read(counter, text, sizeof text - 1);
  long left = length > 0 ? strtol(text, NULL, 10) : 0;
  if (left > 0) {
    int digits = snprintf(text, sizeof text, "%-20ld", left - 1);
    lseek(counter, 0, SEEK_SET);
    if (write(counter, text, digits) != digits) abort();
  }
  close(counter);
  return left > 0;
}

ssize_t pread(int file, void *bytes, size_t count, off_t offset) {
  if (mustFail(file)) {
    errno = EIO;
    return -1;
  }
  return syscall(SYS_pread64, file, bytes, count, offset);
}

ssize_t pread64(int file, void *bytes, size_t count, off64_t offset) { return pread(file, bytes, count, offset); }
