/* Records what a process changes on the disk below one folder: writes, truncations, syncs, renames, removals, new files.
 *
 * Preloaded (LD_PRELOAD) into a night in a process of its own; RECORD_BELOW is the folder, RECORD_TO the file that it writes.
 * One record: kind, length of the path, length of the other path, offset, length of the data; then these three. `images.py`
 * makes of it what a disk may hold after a power cut. Copies within the kernel are refused, so that all goes by write.
 * With FAIL_AT=n the n-th of these calls fails with FAIL_WITH (a number of errno), and all after it, where FAIL_ON is set.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

struct record { uint32_t kind, path, other; uint32_t unused; uint64_t offset, data; };

static int is_ours(const char *path) {
    const char *below = getenv("RECORD_BELOW");
    return below && path && !strncmp(path, below, strlen(below));
}

static const char *path_of(int fd, char *buffer) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, buffer, 4095);
    buffer[length < 0 ? 0 : length] = 0;
    return is_ours(buffer) ? buffer : NULL;
}

static void note(char kind, const char *path, const char *other, uint64_t offset, const void *data, uint64_t length) {
    struct record r = {kind, strlen(path), other ? strlen(other) : 0, 0, offset, length};
    struct iovec parts[] = {{&r, sizeof r}, {(void *)path, r.path}, {(void *)(other ? other : ""), r.other},
                            {(void *)data, data ? length : 0}};
    int fd = NEXT(open)(getenv("RECORD_TO"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || writev(fd, parts, 4) < 0) abort();
    close(fd);
}

static int fails(void) {
    static long calls;
    static int failed;
    const char *at = getenv("FAIL_AT");
    if (!at) return 0;
    pthread_mutex_lock(&one_at_a_time);
    int due = ++calls == atol(at) || (failed && getenv("FAIL_ON"));
    failed |= due;
    pthread_mutex_unlock(&one_at_a_time);
    if (due) errno = atoi(getenv("FAIL_WITH"));
    return due;
}

/* The call and its record are one, so that records have the order of what happened. */
#define NOTED(call, ok, record) \
    if (fails()) return -1; \
    int saved; pthread_mutex_lock(&one_at_a_time); \
    __typeof__(call) result = (call); saved = errno; \
    if (ok) { record; } \
    pthread_mutex_unlock(&one_at_a_time); errno = saved; return result

static int opened(int fd, int existed, int flags) {
    char buffer[4096];
    const char *path = fd < 0 ? NULL : path_of(fd, buffer);
    if (path && (flags & O_CREAT) && !existed) note('c', path, NULL, 0, NULL, 0);
    else if (path && (flags & O_TRUNC)) note('t', path, NULL, 0, NULL, 0);
    return fd;
}

#define OPEN(name) \
int name(const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); int mode = va_arg(more, int); va_end(more); \
    int existed = access(path, F_OK) == 0; \
    pthread_mutex_lock(&one_at_a_time); \
    int fd = NEXT(name)(path, flags, mode), saved = errno; \
    opened(fd, existed, flags); \
    pthread_mutex_unlock(&one_at_a_time); errno = saved; return fd; }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
int name(int folder, const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); int mode = va_arg(more, int); va_end(more); \
    int existed = faccessat(folder, path, F_OK, 0) == 0; \
    pthread_mutex_lock(&one_at_a_time); \
    int fd = NEXT(name)(folder, path, flags, mode), saved = errno; \
    opened(fd, existed, flags); \
    pthread_mutex_unlock(&one_at_a_time); errno = saved; return fd; }
OPENAT(openat)
OPENAT(openat64)

#define PWRITE(name) \
ssize_t name(int fd, const void *data, size_t length, off_t offset) { \
    char b[4096]; const char *path = path_of(fd, b); \
    if (!path) return NEXT(name)(fd, data, length, offset); \
    NOTED(NEXT(name)(fd, data, length, offset), result > 0, note('w', path, NULL, offset, data, result)); }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t write(int fd, const void *data, size_t length) {
    char b[4096]; const char *path = path_of(fd, b);
    if (!path) return NEXT(write)(fd, data, length);
    NOTED(NEXT(write)(fd, data, length), result > 0,
          note('w', path, NULL, lseek(fd, 0, SEEK_CUR) - result, data, result));
}

#define TRUNCATE(name) \
int name(int fd, off_t length) { \
    char b[4096]; const char *path = path_of(fd, b); \
    if (!path) return NEXT(name)(fd, length); \
    NOTED(NEXT(name)(fd, length), result == 0, note('t', path, NULL, length, NULL, 0)); }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int truncate(const char *path, off_t length) {
    if (!is_ours(path)) return NEXT(truncate)(path, length);
    NOTED(NEXT(truncate)(path, length), result == 0, note('t', path, NULL, length, NULL, 0));
}

#define SYNC(name) \
int name(int fd) { \
    char b[4096]; const char *path = path_of(fd, b); \
    if (!path) return NEXT(name)(fd); \
    NOTED(NEXT(name)(fd), result == 0, note('s', path, NULL, 0, NULL, 0)); }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *from, const char *to) {
    if (!is_ours(from)) return NEXT(rename)(from, to);
    NOTED(NEXT(rename)(from, to), result == 0, note('r', from, to, 0, NULL, 0));
}

int unlink(const char *path) {
    if (!is_ours(path)) return NEXT(unlink)(path);
    NOTED(NEXT(unlink)(path), result == 0, note('u', path, NULL, 0, NULL, 0));
}

int unlinkat(int folder, const char *path, int flags) {
    char b[8192]; const char *below = path;
    if (path[0] != '/' && folder >= 0 && path_of(folder, b)) { strcat(b, "/"); strncat(b, path, 4000); below = b; }
    if (!is_ours(below)) return NEXT(unlinkat)(folder, path, flags);
    NOTED(NEXT(unlinkat)(folder, path, flags), result == 0, note(flags & AT_REMOVEDIR ? 'd' : 'u', below, NULL, 0, NULL, 0));
}

int link(const char *from, const char *to) {
    if (!is_ours(from)) return NEXT(link)(from, to);
    NOTED(NEXT(link)(from, to), result == 0, note('l', from, to, 0, NULL, 0));
}

int mkdir(const char *path, mode_t mode) {
    if (!is_ours(path)) return NEXT(mkdir)(path, mode);
    NOTED(NEXT(mkdir)(path, mode), result == 0, note('m', path, NULL, 0, NULL, 0));
}

ssize_t copy_file_range(int a, off64_t *b, int c, off64_t *d, size_t e, unsigned f) {
    (void)a; (void)b; (void)c; (void)d; (void)e; (void)f; errno = ENOSYS; return -1;
}
ssize_t sendfile(int a, int b, off_t *c, size_t d) { (void)a; (void)b; (void)c; (void)d; errno = EINVAL; return -1; }
ssize_t sendfile64(int a, int b, off64_t *c, size_t d) { (void)a; (void)b; (void)c; (void)d; errno = EINVAL; return -1; }
