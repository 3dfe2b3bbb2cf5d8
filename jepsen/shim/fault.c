/* Preloaded into a node by the harness: makes syncs and writes under one directory fail or take long,
   and moves the wall clock. The monotonic clock is left alone: a moved one hangs every tokio program.

   JEPSEN_FAULT_DIR names the directory, JEPSEN_FAULT_CONTROL a file of 4096 bytes that both sides map
   or write: 64-bit words, the first half set by the harness, the second counted here. It does not see
   io_uring, and no system call that is made without libc. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    SYNC_FAIL_PPM, SYNC_FAIL_LEFT, SYNC_DELAY_US, WRITE_FULL_PPM,
    CLOCK_OFFSET_NS, CLOCK_RATE_PPM, CLOCK_BASE_NS, STROBE_NS, STROBE_PERIOD_NS, SEED,
    SYNCS_SEEN = 256, SYNCS_FAILED, SYNCS_DELAYED, WRITES_FAILED, CLOCKS_MOVED,
    WORDS = 512
};

static _Atomic int64_t *words;
static char dir[PATH_MAX];
static size_t dir_length;
static __thread uint64_t chance_state;

__attribute__((constructor)) static void begin(void) {
    const char *control = getenv("JEPSEN_FAULT_CONTROL"), *wanted = getenv("JEPSEN_FAULT_DIR");
    if (!control || !wanted) return;
    snprintf(dir, sizeof dir, "%s", wanted);
    dir_length = strlen(dir);
    int fd = open(control, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *at = mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) words = at;
}

static int64_t word(int which) {
    return words ? atomic_load_explicit(&words[which], memory_order_relaxed) : 0;
}

static void count(int which) {
    atomic_fetch_add_explicit(&words[which], 1, memory_order_relaxed);
}

static int chance(int64_t ppm) {
    if (ppm <= 0) return 0;
    if (!chance_state) chance_state = (uint64_t)word(SEED) ^ ((uint64_t)syscall(SYS_gettid) << 20) ^ 0x9e3779b97f4a7c15u;
    chance_state ^= chance_state << 13, chance_state ^= chance_state >> 7, chance_state ^= chance_state << 17;
    return (int64_t)(chance_state % 1000000) < ppm;
}

static int is_ours(int fd) {
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    return length > 0 && (size_t)length > dir_length && !memcmp(path, dir, dir_length) && path[dir_length] == '/';
}

/* Takes one of the failures that are left; a negative number never ends. */
static int one_left(void) {
    int64_t left = word(SYNC_FAIL_LEFT);
    while (left > 0)
        if (atomic_compare_exchange_weak(&words[SYNC_FAIL_LEFT], &left, left - 1)) return 1;
    return left < 0;
}

/* What is to happen to a sync: nonzero when it fails. */
static int spoil_sync(int fd) {
    if (!words || !is_ours(fd)) return 0;
    count(SYNCS_SEEN);
    int64_t delay = word(SYNC_DELAY_US);
    if (delay > 0) {
        struct timespec time = {delay / 1000000, delay % 1000000 * 1000};
        nanosleep(&time, NULL);
        count(SYNCS_DELAYED);
    }
    if (chance(word(SYNC_FAIL_PPM)) && one_left()) {
        count(SYNCS_FAILED);
        errno = EIO;
        return 1;
    }
    return 0;
}

static int spoil_write(int fd) {
    if (!chance(word(WRITE_FULL_PPM)) || !is_ours(fd)) return 0;
    count(WRITES_FAILED);
    errno = ENOSPC;
    return 1;
}

#define SPOILED(result, name, spoil, parameters, arguments) \
    static result (*next_##name) parameters; \
    result name parameters { \
        if (!next_##name) *(void **)&next_##name = dlsym(RTLD_NEXT, #name); \
        if (spoil(fd)) return -1; \
        return next_##name arguments; \
    }

SPOILED(int, fsync, spoil_sync, (int fd), (fd))
SPOILED(int, fdatasync, spoil_sync, (int fd), (fd))
SPOILED(int, sync_file_range, spoil_sync, (int fd, off64_t at, off64_t n, unsigned flags), (fd, at, n, flags))
SPOILED(ssize_t, write, spoil_write, (int fd, const void *bytes, size_t n), (fd, bytes, n))
SPOILED(ssize_t, writev, spoil_write, (int fd, const struct iovec *parts, int n), (fd, parts, n))
SPOILED(ssize_t, pwrite, spoil_write, (int fd, const void *bytes, size_t n, off_t at), (fd, bytes, n, at))
SPOILED(ssize_t, pwrite64, spoil_write, (int fd, const void *bytes, size_t n, off64_t at), (fd, bytes, n, at))

static int64_t monotonic(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

/* By how much the wall clock is wrong now. */
static int64_t wrong_by(void) {
    int64_t rate = word(CLOCK_RATE_PPM), strobe = word(STROBE_NS), period = word(STROBE_PERIOD_NS);
    int64_t by = word(CLOCK_OFFSET_NS);
    if (rate) by += (int64_t)((__int128)(monotonic() - word(CLOCK_BASE_NS)) * rate / 1000000);
    if (strobe && period > 0 && (monotonic() / period) & 1) by += strobe;
    if (by) count(CLOCKS_MOVED);
    return by;
}

static void move(struct timespec *time) {
    int64_t by = wrong_by();
    if (!by) return;
    int64_t now = time->tv_sec * 1000000000 + time->tv_nsec + by;
    if (now < 0) now = 0;
    time->tv_sec = now / 1000000000;
    time->tv_nsec = now % 1000000000;
}

int clock_gettime(clockid_t which, struct timespec *time) {
    static int (*next)(clockid_t, struct timespec *);
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "clock_gettime");
    int result = next ? next(which, time) : (int)syscall(SYS_clock_gettime, which, time);
    if (!result && words && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) move(time);
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    time->tv_sec = now.tv_sec, time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
