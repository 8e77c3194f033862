/* Preloaded into a service: its wall clock is off by what a file says, and its disk is full while the file says so.
 *
 * Laws of this file:
 * - The file is two numbers, mapped: microseconds that the wall clock is off, and whether the disk is full.
 * - Time that only runs (CLOCK_MONOTONIC) is left alone, as by an operator or a time server who sets a clock.
 * - Full is the disk of CHAOS_DISK alone: what makes a file of it longer gets ENOSPC, what is within one is written.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *dials;
static char disk[PATH_MAX];
static int (*real_clock)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CHAOS_DIALS"), *folder = getenv("CHAOS_DISK");
    *(void **)&real_clock = dlsym(RTLD_NEXT, "clock_gettime");
    if (folder == NULL || realpath(folder, disk) == NULL)
        disk[0] = '\0';
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, 2 * sizeof *dials, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        dials = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int done = real_clock == NULL ? (int)syscall(SYS_clock_gettime, clock, at) : real_clock(clock, at);
    if (done == 0 && dials != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t off = dials[0], nanoseconds = at->tv_nsec + off % 1000000 * 1000;
        at->tv_sec += off / 1000000;
        if (nanoseconds < 0 || nanoseconds >= 1000000000) {
            int64_t carry = nanoseconds < 0 ? -1 : 1;
            at->tv_sec += carry;
            nanoseconds -= carry * 1000000000;
        }
        at->tv_nsec = nanoseconds;
    }
    return done;
}

int gettimeofday(struct timeval *at, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at != NULL)
        *at = now.tv_sec;
    return now.tv_sec;
}

/* Whether there is no room for a file of the disk to end at `end`. */
static int refused(int fd, off_t end)
{
    char link[64], path[PATH_MAX];
    struct stat found;
    if (dials == NULL || dials[1] == 0 || disk[0] == '\0')
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t above = strlen(disk);
    if (length <= (ssize_t)above || strncmp(path, disk, above) != 0 || path[above] != '/')
        return 0;
    if (fstat(fd, &found) != 0 || end <= found.st_size)
        return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at)
{
    return refused(fd, at + (off_t)length) ? -1 : syscall(SYS_pwrite64, fd, data, length, at);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { return pwrite64(fd, data, length, at); }

ssize_t write(int fd, const void *data, size_t length)
{
    off_t at = dials != NULL && dials[1] != 0 ? lseek(fd, 0, SEEK_CUR) : -1;
    return at >= 0 && refused(fd, at + (off_t)length) ? -1 : syscall(SYS_write, fd, data, length);
}

int ftruncate64(int fd, off64_t length)
{
    return refused(fd, length) ? -1 : (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int posix_fallocate64(int fd, off64_t at, off64_t length)
{
    return refused(fd, at + length) ? ENOSPC : (syscall(SYS_fallocate, fd, 0, at, length) == 0 ? 0 : errno);
}

int posix_fallocate(int fd, off_t at, off_t length) { return posix_fallocate64(fd, at, length); }
