// Wraps functions of the C library so that the FAULT_AT-th change of a file or folder fails, and announces it on standard error. Nothing
// is flushed to the disk, because this would take longer than everything else.
//
// FAULT_KIND is the kind of the failure. kill: the process is killed before the change, or in the middle of a write. full: this and every
// later change finds the disk full. broken: only this change fails, with a device error.

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

template <typename F> F *next(const char *name) { return reinterpret_cast<F *>(dlsym(RTLD_NEXT, name)); }

bool is(const char *kind) {
    const char *given = getenv("FAULT_KIND");
    return given != nullptr && strcmp(given, kind) == 0;
}

enum Now { works, dies, fails };

/// Counts a call and returns whether it works. If it must fail, sets errno.
Now fate(const char *call, bool takes_space) {
    static const int at = getenv("FAULT_AT") ? atoi(getenv("FAULT_AT")) : 0;
    static std::atomic<int> calls{0};
    const int number = ++calls;
    if (at == 0 || number < at) return works;
    if (number == at) dprintf(2, "FAULT %s\n", call);
    if (is("kill")) return number == at ? dies : works;
    if (is("full")) {
        errno = ENOSPC;
        return takes_space ? fails : works;
    }
    errno = EIO;
    return number == at ? fails : works;
}

/// Counts a call and returns whether it must fail, or kills the process.
bool stopped(const char *call, bool takes_space) {
    const Now now = fate(call, takes_space);
    if (now == dies) raise(SIGKILL);
    return now == fails;
}

} // namespace

extern "C" {

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (flags & O_CREAT && stopped("open", true)) return -1;
    return next<int(const char *, int, ...)>("open64")(path, flags, mode);
}

ssize_t write(int file, const void *bytes, size_t count) {
    static auto *const real = next<ssize_t(int, const void *, size_t)>("write");
    struct stat about;
    if (fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) return real(file, bytes, count);
    const Now now = fate("write", true);
    if (now == dies) {
        real(file, bytes, count / 2);
        raise(SIGKILL);
    }
    return now == fails ? -1 : real(file, bytes, count);
}

// A kill before a flush is the same as a kill before the next change, so flushes are not counted for it.
int fsync(int) { return !is("kill") && stopped("fsync", true) ? -1 : 0; }

int fdatasync(int) { return !is("kill") && stopped("fdatasync", true) ? -1 : 0; }

int rename(const char *from, const char *to) noexcept {
    return stopped("rename", false) ? -1 : next<int(const char *, const char *)>("rename")(from, to);
}

int mkdir(const char *path, mode_t mode) noexcept {
    return stopped("mkdir", true) ? -1 : next<int(const char *, mode_t)>("mkdir")(path, mode);
}

int unlink(const char *path) noexcept {
    return stopped("unlink", false) ? -1 : next<int(const char *)>("unlink")(path);
}

int unlinkat(int folder, const char *path, int flags) noexcept {
    return stopped("unlinkat", false) ? -1 : next<int(int, const char *, int)>("unlinkat")(folder, path, flags);
}

int ftruncate64(int file, off64_t length) noexcept {
    return stopped("ftruncate", false) ? -1 : next<int(int, off64_t)>("ftruncate64")(file, length);
}

} // extern "C"
