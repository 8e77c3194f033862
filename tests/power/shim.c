/* The witness of a disk: preloaded into a process, it writes down what happens to the files of one folder.
 *
 * Laws of this file:
 * - The journal has all processes' operations in one order: each is done and written down under one lock.
 * - An fsync is written down when it returns, with the place in the journal at which it began: what was written before
 *   that place, and nothing else, is safe from then on.
 * - Nothing is really synced: the journal alone decides what a power loss leaves. POWER_SYNC_US makes a disk slow.
 * - What is mapped into memory (-shm) is not looked at; it never survives.
 *
 * Calls go to the kernel directly, so that no order of loading matters. 64-bit Linux.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct head {
    uint32_t kind;
    uint32_t name;
    uint64_t data;
    int64_t at;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static char root[PATH_MAX];
static size_t root_length;
static long sync_us;

__attribute__((constructor)) static void begin(void)
{
    const char *folder = getenv("POWER_ROOT"), *path = getenv("POWER_JOURNAL"), *us = getenv("POWER_SYNC_US");
    if (folder == NULL || path == NULL || realpath(folder, root) == NULL)
        return;
    root_length = strlen(root);
    sync_us = us == NULL ? 0 : atol(us);
    journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static void enter(void)
{
    pthread_mutex_lock(&mutex);
    while (flock(journal, LOCK_EX) != 0 && errno == EINTR)
        ;
}

static void leave(void)
{
    int kept = errno;
    flock(journal, LOCK_UN);
    pthread_mutex_unlock(&mutex);
    errno = kept;
}

static int64_t here(void) { return (int64_t)syscall(SYS_lseek, journal, 0, SEEK_END); }

static void note(char kind, const char *name, const void *data, size_t length, int64_t at)
{
    int kept = errno;
    struct head head = {(uint32_t)kind, (uint32_t)strlen(name), length, at};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)name, strlen(name)}, {(void *)data, length}};
    ssize_t wanted = (ssize_t)(sizeof head + strlen(name) + length);
    if (syscall(SYS_writev, journal, parts, 3) != wanted) {
        static const char told[] = "the journal of the disk cannot be written\n";
        syscall(SYS_write, 2, told, sizeof told - 1);
        abort();
    }
    errno = kept;
}

/* The name of a path inside the folder, "" for the folder itself; NULL for whatever is not witnessed. */
static const char *inside(const char *path)
{
    size_t length = strlen(path);
    if (journal < 0 || strncmp(path, root, root_length) != 0)
        return NULL;
    if (path[root_length] == '\0')
        return "";
    if (path[root_length] != '/' || (length > 4 && strcmp(path + length - 4, "-shm") == 0))
        return NULL;
    return path + root_length + 1;
}

static const char *name_of(int fd, char path[PATH_MAX])
{
    char link[64];
    struct stat found;
    if (journal < 0 || fd == journal)
        return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0 || path[0] != '/')
        return NULL;
    path[length] = '\0';
    const char *name = inside(path);
    return name != NULL && fstat(fd, &found) == 0 && found.st_nlink > 0 ? name : NULL;
}

static int opened(int folder, const char *path, int flags, mode_t mode)
{
    char found[PATH_MAX];
    if (journal < 0 || !(flags & (O_CREAT | O_TRUNC)))
        return (int)syscall(SYS_openat, folder, path, flags, mode);
    enter();
    int is_new = faccessat(folder, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    const char *name = fd < 0 ? NULL : name_of(fd, found);
    if (name != NULL && is_new)
        note('C', name, NULL, 0, 0);
    else if (name != NULL && (flags & O_TRUNC))
        note('T', name, NULL, 0, 0);
    leave();
    return fd;
}

#define MODE_OF(flags, mode)            \
    mode_t mode = 0;                    \
    if ((flags) & O_CREAT) {            \
        va_list rest;                   \
        va_start(rest, flags);          \
        mode = va_arg(rest, mode_t);    \
        va_end(rest);                   \
    }

int open(const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return opened(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return opened(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return opened(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return opened(folder, path, flags, mode);
}

static ssize_t written(int fd, const void *data, size_t length, off_t at, int placed)
{
    char path[PATH_MAX];
    const char *name = name_of(fd, path);
    if (name == NULL)
        return placed ? syscall(SYS_pwrite64, fd, data, length, at) : syscall(SYS_write, fd, data, length);
    enter();
    if (!placed)
        at = (off_t)syscall(SYS_lseek, fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    ssize_t done = placed ? syscall(SYS_pwrite64, fd, data, length, at) : syscall(SYS_write, fd, data, length);
    if (done > 0)
        note('W', name, data, (size_t)done, at);
    leave();
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { return written(fd, data, length, at, 1); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) { return written(fd, data, length, at, 1); }
ssize_t write(int fd, const void *data, size_t length) { return written(fd, data, length, 0, 0); }

int ftruncate(int fd, off_t length)
{
    char path[PATH_MAX];
    const char *name = name_of(fd, path);
    if (name == NULL)
        return (int)syscall(SYS_ftruncate, fd, length);
    enter();
    int done = (int)syscall(SYS_ftruncate, fd, length);
    if (done == 0)
        note('T', name, NULL, 0, length);
    leave();
    return done;
}

int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

static int synced(int fd, long call)
{
    char path[PATH_MAX];
    const char *name = name_of(fd, path);
    if (name == NULL)
        return (int)syscall(call, fd);
    enter();
    int64_t began = here();
    leave();
    if (sync_us > 0)
        usleep((useconds_t)sync_us);
    enter();
    note('S', name, NULL, 0, began);
    leave();
    return 0;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

int unlink(const char *path)
{
    char found[PATH_MAX];
    const char *name = journal < 0 || realpath(path, found) == NULL ? NULL : inside(found);
    if (name == NULL)
        return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    enter();
    int done = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (done == 0)
        note('U', name, NULL, 0, 0);
    leave();
    return done;
}

int mkdir(const char *path, mode_t mode)
{
    char found[PATH_MAX];
    if (journal < 0)
        return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    enter();
    int done = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    const char *name = done != 0 || realpath(path, found) == NULL ? NULL : inside(found);
    if (name != NULL)
        note('D', name, NULL, 0, 0);
    leave();
    return done;
}

/* What the process itself has to say: here, something was acknowledged. */
void power_mark(const void *data, size_t length)
{
    enter();
    note('M', "", data, length, 0);
    leave();
}
