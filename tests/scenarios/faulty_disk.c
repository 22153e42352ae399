/* A disk that fails when it is told to, and a network that is not there: loaded into a process and its children with LD_PRELOAD.

   Calls that change files under one folder are counted. At the N-th the process is killed (SIGKILL), or the disk is full, once or from then
   on; a write is first done by half, as a power cut or the last free block would leave it. Every file opened for writing is noted, wherever
   it lies. A socket that is not AF_UNIX, or a name looked up, ends the process with SIGABRT, and the reason is on standard error.

   FAULTY_CONTROL names a file of `struct control`, which all processes share; FAULTY_LOG a file that notes are appended to. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, KILL, FULL_ONCE, FULL_FROM };  /* how */
enum { GO, FAIL, HALF };                     /* what becomes of a call */

struct control {
    int64_t count, at, how;
    char root[1000];
};

static struct control *control;
static int log_fd = -1;

static void start(void) {
    static int started;
    const char *path;
    if (started) return;
    started = 1;
    if ((path = getenv("FAULTY_CONTROL")) != NULL) {
        int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
        if (fd >= 0) {
            void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (at != MAP_FAILED) control = at;
            syscall(SYS_close, fd);
        }
    }
    if ((path = getenv("FAULTY_LOG")) != NULL) {
        int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
        if (fd >= 0) {
            log_fd = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 700); /* out of the way of programs that close what they did not open */
            syscall(SYS_close, fd);
        }
    }
}

static void note(const char *what, const char *path) {
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s %s\n", what, path);
    if (log_fd >= 0 && length > 0) syscall(SYS_write, log_fd, line, length < (int)sizeof line ? length : (int)sizeof line - 1);
}

static void path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
}

static void absolute(int folder, const char *name, char *path) {
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return;
    }
    char base[PATH_MAX];
    if (folder == AT_FDCWD) {
        if (syscall(SYS_getcwd, base, sizeof base) < 0) base[0] = 0;
    } else {
        path_of(folder, base);
    }
    snprintf(path, PATH_MAX, "%.2000s/%.2000s", base, name);
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static int point(const char *what, const char *path, int may_fail, size_t size) {
    char said[64];
    start();
    if (control == NULL || !control->root[0]) return GO;
    size_t length = strlen(control->root);
    if (strncmp(path, control->root, length) != 0 || (path[length] != '/' && path[length] != 0)) return GO;
    int64_t n = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
    snprintf(said, sizeof said, "#%lld %s", (long long)n, what);
    note(said, path);
    if (control->how == KILL && n == control->at) {
        if (size > 1) return HALF;
        die();
    }
    if (!may_fail) return GO;
    if (control->how == FULL_ONCE && n == control->at) return FAIL;
    if (control->how == FULL_FROM && n == control->at && size > 1) return HALF;
    if (control->how == FULL_FROM && n >= control->at) return FAIL;
    return GO;
}

static int point_fd(const char *what, int fd, int may_fail, size_t size) {
    char path[PATH_MAX];
    path_of(fd, path);
    return point(what, path, may_fail, size);
}

static int full(void) {
    errno = ENOSPC;
    return -1;
}

#define REAL(result, name, ...)                          \
    static result (*real)(__VA_ARGS__);                  \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name)

/* --- opening --- */

static int opening(int folder, const char *name, int flags) {
    char path[PATH_MAX];
    if (!(flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))) return GO;
    start();
    absolute(folder, name, path);
    note("open", path);
    return point("open", path, flags & O_CREAT, 0);
}

#define MODE(flags, mode)                                               \
    mode_t mode = 0;                                                    \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                              \
        va_list rest;                                                   \
        va_start(rest, flags);                                          \
        mode = va_arg(rest, mode_t);                                    \
        va_end(rest);                                                   \
    }

#define OPEN(name)                                                      \
    int name(const char *path, int flags, ...) {                        \
        REAL(int, name, const char *, int, ...);                        \
        MODE(flags, mode)                                               \
        return opening(AT_FDCWD, path, flags) ? full() : real(path, flags, mode); \
    }
#define OPENAT(name)                                                    \
    int name(int folder, const char *path, int flags, ...) {            \
        REAL(int, name, int, const char *, int, ...);                   \
        MODE(flags, mode)                                               \
        return opening(folder, path, flags) ? full() : real(folder, path, flags, mode); \
    }
#define OPEN_2(name)                                                    \
    int name(const char *path, int flags) {                             \
        REAL(int, name, const char *, int);                             \
        return opening(AT_FDCWD, path, flags) ? full() : real(path, flags); \
    }
#define OPENAT_2(name)                                                  \
    int name(int folder, const char *path, int flags) {                 \
        REAL(int, name, int, const char *, int);                        \
        return opening(folder, path, flags) ? full() : real(folder, path, flags); \
    }
#define CREAT(name)                                                     \
    int name(const char *path, mode_t mode) {                           \
        REAL(int, name, const char *, mode_t);                          \
        return opening(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC) ? full() : real(path, mode); \
    }
#define FOPEN(name)                                                     \
    FILE *name(const char *path, const char *mode) {                    \
        REAL(FILE *, name, const char *, const char *);                 \
        int writes = strpbrk(mode, "wa+") != NULL;                      \
        if (writes && opening(AT_FDCWD, path, O_WRONLY | O_CREAT)) {    \
            errno = ENOSPC;                                             \
            return NULL;                                                \
        }                                                               \
        return real(path, mode);                                        \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
OPEN_2(__open_2)
OPEN_2(__open64_2)
OPENAT_2(__openat_2)
OPENAT_2(__openat64_2)
CREAT(creat)
CREAT(creat64)
FOPEN(fopen)
FOPEN(fopen64)

/* --- writing --- */

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    switch (point_fd("write", fd, 1, size)) {
        case FAIL: return full();
        case HALF:
            size = real(fd, data, size / 2);
            if (control->how == KILL) die();
            return size;
    }
    return real(fd, data, size);
}

#define PWRITE(name, offset_t)                                          \
    ssize_t name(int fd, const void *data, size_t size, offset_t at) {  \
        REAL(ssize_t, name, int, const void *, size_t, offset_t);       \
        return point_fd(#name, fd, 1, 0) ? full() : real(fd, data, size, at); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    return point_fd("writev", fd, 1, 0) ? full() : real(fd, parts, count);
}

#define ON_FD(result, name, may_fail, parameters, ...)                  \
    result name parameters {                                            \
        static result(*real) parameters;                                \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);           \
        return point_fd(#name, fd, may_fail, 0) ? full() : real(__VA_ARGS__); \
    }
ON_FD(int, fsync, 1, (int fd), fd)
ON_FD(int, fdatasync, 1, (int fd), fd)
ON_FD(int, ftruncate, 0, (int fd, off_t size), fd, size)
ON_FD(int, ftruncate64, 0, (int fd, off64_t size), fd, size)
ON_FD(int, fallocate, 1, (int fd, int mode, off_t at, off_t size), fd, mode, at, size)
ON_FD(int, posix_fallocate, 1, (int fd, off_t at, off_t size), fd, at, size)
ON_FD(ssize_t, sendfile, 1, (int fd, int from, off_t *at, size_t size), fd, from, at, size)
ON_FD(ssize_t, sendfile64, 1, (int fd, int from, off64_t *at, size_t size), fd, from, at, size)

ssize_t copy_file_range(int from, off64_t *from_at, int fd, off64_t *at, size_t size, unsigned flags) {
    REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
    return point_fd("copy_file_range", fd, 1, 0) ? full() : real(from, from_at, fd, at, size, flags);
}

/* --- names --- */

static int named(const char *what, int folder, const char *name, int may_fail) {
    char path[PATH_MAX];
    absolute(folder, name, path);
    return point(what, path, may_fail, 0);
}

#define ON_NAME(name, folder, target, may_fail, parameters, ...)        \
    int name parameters {                                               \
        static int(*real) parameters;                                   \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);           \
        return named(#name, folder, target, may_fail) ? full() : real(__VA_ARGS__); \
    }
/* A full disk still lets go of what it holds. */
ON_NAME(unlink, AT_FDCWD, path, 0, (const char *path), path)
ON_NAME(unlinkat, at, path, 0, (int at, const char *path, int flags), at, path, flags)
ON_NAME(rmdir, AT_FDCWD, path, 0, (const char *path), path)
ON_NAME(truncate, AT_FDCWD, path, 0, (const char *path, off_t size), path, size)
ON_NAME(mkdir, AT_FDCWD, path, 1, (const char *path, mode_t mode), path, mode)
ON_NAME(mkdirat, at, path, 1, (int at, const char *path, mode_t mode), at, path, mode)
ON_NAME(rename, AT_FDCWD, to, 1, (const char *from, const char *to), from, to)
ON_NAME(renameat, at, to, 1, (int from_at, const char *from, int at, const char *to), from_at, from, at, to)
ON_NAME(renameat2, at, to, 1, (int from_at, const char *from, int at, const char *to, unsigned flags), from_at, from, at, to, flags)
ON_NAME(link, AT_FDCWD, to, 1, (const char *from, const char *to), from, to)
ON_NAME(linkat, at, to, 1, (int from_at, const char *from, int at, const char *to, int flags), from_at, from, at, to, flags)
ON_NAME(symlink, AT_FDCWD, to, 1, (const char *from, const char *to), from, to)
ON_NAME(symlinkat, at, to, 1, (const char *from, int at, const char *to), from, at, to)

/* --- no network --- */

static void refuse(const char *what, int family, const char *host) {
    char said[300];
    start();
    int length = snprintf(said, sizeof said, "faulty_disk: %s, family %d, %.200s\n", what, family, host);
    note("network", said);
    syscall(SYS_write, 2, said, length);
    abort();
}

static void check(const char *what, const struct sockaddr *address) {
    if (address != NULL && address->sa_family != AF_UNIX && address->sa_family != AF_UNSPEC) refuse(what, address->sa_family, "");
}

int socket(int family, int kind, int protocol) {
    REAL(int, socket, int, int, int);
    if (family != AF_UNIX) refuse("socket", family, "");
    return real(family, kind, protocol);
}

int connect(int fd, const struct sockaddr *address, socklen_t size) {
    REAL(int, connect, int, const struct sockaddr *, socklen_t);
    check("connect", address);
    return real(fd, address, size);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length) {
    REAL(ssize_t, sendto, int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    check("sendto", address);
    return real(fd, data, size, flags, address, length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(ssize_t, sendmsg, int, const struct msghdr *, int);
    check("sendmsg", message->msg_name);
    return real(fd, message, flags);
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    (void)service, (void)hints, (void)found;
    refuse("getaddrinfo", 0, host == NULL ? "" : host);
    return EAI_FAIL;
}

struct hostent *gethostbyname(const char *host) {
    refuse("gethostbyname", 0, host);
    return NULL;
}
