// Moves the wall clock of the process that it is preloaded into (LD_PRELOAD), and no other clock: by the nanoseconds
// that the file named by FAULTS_CLOCK holds as a native 64-bit integer, at the time of each call.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t kSecond = 1000000000;

static int64_t Offset(void) {
  static volatile const int64_t *offset;
  if (offset == NULL) {
    static const int64_t none = 0;
    const char *path = getenv("FAULTS_CLOCK");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *map = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    offset = map == MAP_FAILED ? &none : map;
  }
  return *offset;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  // The system call, since the C library's own function is this one's name.
  if (syscall(SYS_clock_gettime, clock, now) != 0) return -1;
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
    int64_t moved = now->tv_sec * kSecond + now->tv_nsec + Offset();
    now->tv_sec = moved / kSecond;
    now->tv_nsec = moved % kSecond;
  }
  return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &precise) != 0) return -1;
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *now) {
  struct timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  if (now != NULL) *now = precise.tv_sec;
  return precise.tv_sec;
}
