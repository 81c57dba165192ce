/* The functions of libc that change files, each with its record; they follow journal.c in one translation unit. */

/* Opening */

static int opened(int dir, const char *path, int flags, mode_t mode) {
    char below[PATH_MAX];
    if (!watching() || !locate(dir, path, below)) {
        int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
        remember(fd, (struct handle){0, 0});
        return fd;
    }
    if ((flags & O_TMPFILE) == O_TMPFILE)
        give_up("a file without a name is not modelled", path);
    struct stat before;
    int exists = fstatat(dir, path, &before, 0) == 0;
    if ((flags & O_CREAT) && !exists && is_full())
        return refuse();
    pthread_mutex_lock(&lock);
    int noted = ((flags & O_CREAT) ? CREATES : 0) | ((flags & O_TRUNC) ? TRUNCATES : 0) | ((flags & O_EXCL) ? EXCLUSIVE : 0);
    uint64_t id = note(OPEN, noted, 0, 0, below, NULL, NULL, 0);
    int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
    if (fd < 0)
        amend(id, -1);
    else {
        remember(fd, (struct handle){id, (flags & O_APPEND) != 0});
        if (exists && (flags & O_TRUNC) && S_ISREG(before.st_mode))
            give_back(before.st_size);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE_OF(flags, mode)                         \
    mode_t mode = 0;                                 \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {         \
        va_list rest;                                \
        va_start(rest, flags);                       \
        mode = (mode_t)va_arg(rest, int);            \
        va_end(rest);                                \
    }

int open(const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return opened(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
int openat(int dir, const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return opened(dir, path, flags, mode);
}
int openat64(int dir, const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return opened(dir, path, flags | O_LARGEFILE, mode);
}
int creat(const char *path, mode_t mode) {
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char *path, mode_t mode) {
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int fd) {
    remember(fd, (struct handle){0, 0});
    return (int)syscall(SYS_close, fd);
}
int dup(int fd) {
    int copy = (int)syscall(SYS_dup, fd);
    remember(copy, handle_of(fd));
    return copy;
}
int dup3(int fd, int to, int flags) {
    int copy = (int)syscall(SYS_dup3, fd, to, flags);
    remember(copy, handle_of(fd));
    return copy;
}
int dup2(int fd, int to) {
    return fd == to ? (fcntl(fd, F_GETFD) < 0 ? -1 : to) : dup3(fd, to, 0);
}

static int controlled(int fd, int command, void *argument) {
    int answer = (int)syscall(SYS_fcntl, fd, command, argument);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
        remember(answer, handle_of(fd));
    return answer;
}
int fcntl(int fd, int command, ...) {
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return controlled(fd, command, argument);
}
int fcntl64(int fd, int command, ...) {
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return controlled(fd, command, argument);
}

/* Writing */

/* Writes at `at`, or where the descriptor stands if that is negative. */
static ssize_t written(int fd, const void *data, size_t bytes, off_t at) {
    pthread_mutex_lock(&lock);
    struct handle handle = handle_of(fd);
    struct stat file;
    if (!handle.id || fstat(fd, &file) || !S_ISREG(file.st_mode)) {
        pthread_mutex_unlock(&lock);
        return at < 0 ? syscall(SYS_write, fd, data, bytes) : syscall(SYS_pwrite64, fd, data, bytes, at);
    }
    off_t from = handle.appends ? file.st_size : at < 0 ? lseek(fd, 0, SEEK_CUR) : at;
    int64_t growth = from + (int64_t)bytes - file.st_size;
    if (growth > 0 && __atomic_load_n(&control->limited, __ATOMIC_RELAXED)) {
        int64_t room = __atomic_load_n(&control->room_bytes, __ATOMIC_RELAXED);
        if (growth > room) {
            /* As a real disk does: what fits is written, and only if that is nothing it is refused. */
            int64_t fits = (int64_t)bytes - growth + (room > 0 ? room : 0);
            if (fits <= 0) {
                pthread_mutex_unlock(&lock);
                return refuse();
            }
            bytes = (size_t)fits;
            growth = room > 0 ? room : 0;
        }
        __atomic_sub_fetch(&control->room_bytes, growth, __ATOMIC_RELAXED);
    }
    uint64_t id = note(WRITE, 0, handle.id, from, NULL, NULL, data, bytes);
    ssize_t done = at < 0 ? syscall(SYS_write, fd, data, bytes) : syscall(SYS_pwrite64, fd, data, bytes, at);
    if (done != (ssize_t)bytes)
        amend(id, done);
    pthread_mutex_unlock(&lock);
    return done;
}

static ssize_t written_parts(int fd, const struct iovec *parts, int count, off_t at) {
    if (!handle_of(fd).id)
        return at < 0 ? syscall(SYS_writev, fd, parts, count) : syscall(SYS_pwritev, fd, parts, count, at, 0L);
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += parts[i].iov_len;
    char *whole = malloc(bytes ? bytes : 1);
    if (!whole)
        give_up("no memory for", "a write in parts");
    size_t filled = 0;
    for (int i = 0; i < count; i++) {
        memcpy(whole + filled, parts[i].iov_base, parts[i].iov_len);
        filled += parts[i].iov_len;
    }
    ssize_t done = written(fd, whole, bytes, at);
    free(whole);
    return done;
}

ssize_t write(int fd, const void *data, size_t bytes) {
    return handle_of(fd).id ? written(fd, data, bytes, -1) : syscall(SYS_write, fd, data, bytes);
}
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at) {
    return handle_of(fd).id ? written(fd, data, bytes, at) : syscall(SYS_pwrite64, fd, data, bytes, at);
}
ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at) {
    return pwrite(fd, data, bytes, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    return written_parts(fd, parts, count, -1);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    return written_parts(fd, parts, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    return written_parts(fd, parts, count, at);
}

/* Copies inside the kernel can't be noted; whoever asks for them falls back to reading and writing. */
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t bytes, unsigned flags) {
    if (handle_of(out).id) {
        errno = EINVAL;
        return -1;
    }
    return syscall(SYS_copy_file_range, in, in_at, out, out_at, bytes, flags);
}
ssize_t sendfile(int out, int in, off_t *at, size_t bytes) {
    if (handle_of(out).id) {
        errno = EINVAL;
        return -1;
    }
    return syscall(SYS_sendfile, out, in, at, bytes);
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t bytes) {
    return sendfile(out, in, at, bytes);
}

int ftruncate(int fd, off_t bytes) {
    if (!handle_of(fd).id)
        return (int)syscall(SYS_ftruncate, fd, bytes);
    pthread_mutex_lock(&lock);
    struct stat before;
    int known = fstat(fd, &before) == 0;
    uint64_t id = note(TRUNCATE, 0, handle_of(fd).id, bytes, NULL, NULL, NULL, 0);
    int done = (int)syscall(SYS_ftruncate, fd, bytes);
    if (done)
        amend(id, -1);
    else if (known)
        give_back(before.st_size - bytes);
    pthread_mutex_unlock(&lock);
    return done;
}
int ftruncate64(int fd, off64_t bytes) {
    return ftruncate(fd, bytes);
}
static int allocated(int fd, int mode, off_t from, off_t bytes) {
    if (handle_of(fd).id) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, from, bytes);
}
int fallocate(int fd, int mode, off_t from, off_t bytes) {
    return allocated(fd, mode, from, bytes);
}
int fallocate64(int fd, int mode, off64_t from, off64_t bytes) {
    return allocated(fd, mode, from, bytes);
}

/* Syncing. sync_file_range is left to the system: it promises nothing. */

/* A descriptor that was opened past libc, as Rust's rustix does. Told by its path, which must still name it. */
static struct handle met(int fd) {
    char link[64], path[PATH_MAX], below[PATH_MAX];
    struct stat file, named;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(link, path, sizeof path - 1);
    if (bytes <= 0)
        return (struct handle){0, 0};
    path[bytes] = 0;
    if (path[0] != '/' || !locate(AT_FDCWD, path, below) || fstat(fd, &file) || stat(path, &named) ||
        file.st_ino != named.st_ino)
        return (struct handle){0, 0};
    pthread_mutex_lock(&lock);
    uint64_t id = note(OPEN, 0, 0, 0, below, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
    return (struct handle){id, 0};
}

static int synced(int fd, long call) {
    struct handle handle = handle_of(fd);
    if (!handle.id && watching())
        handle = met(fd);
    if (!handle.id)
        return (int)syscall(call, fd);
    int counts = !__atomic_load_n(&control->ignores_syncs, __ATOMIC_RELAXED);
    uint64_t id = 0;
    if (counts) {
        /* What is written from here on is not covered any more. */
        pthread_mutex_lock(&lock);
        id = note(SYNC_BEGIN, 0, handle.id, 0, NULL, NULL, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    uint64_t micros = __atomic_load_n(&control->sync_delay_micros, __ATOMIC_RELAXED);
    if (micros) {
        struct timespec left = {(time_t)(micros / 1000000), (long)(micros % 1000000) * 1000};
        while (nanosleep(&left, &left) && errno == EINTR)
            ;
    }
    if (counts) {
        pthread_mutex_lock(&lock);
        note(SYNC_END, 0, id, 0, NULL, NULL, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    __atomic_add_fetch(&control->syncs, 1, __ATOMIC_RELAXED);
    return 0;
}
int fsync(int fd) {
    return synced(fd, SYS_fsync);
}
int fdatasync(int fd) {
    return synced(fd, SYS_fdatasync);
}

/* Names */

static int renamed(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    char below_from[PATH_MAX], below_to[PATH_MAX];
    int leaves = watching() && locate(from_dir, from, below_from);
    int comes = watching() && locate(to_dir, to, below_to);
    if (!leaves && !comes)
        return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    if (!leaves || !comes || flags & ~(unsigned)RENAME_NOREPLACE)
        give_up("only a plain rename within the directory is modelled", to);
    pthread_mutex_lock(&lock);
    uint64_t id = note(RENAME, 0, 0, 0, below_from, below_to, NULL, 0);
    int done = (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    if (done)
        amend(id, -1);
    pthread_mutex_unlock(&lock);
    return done;
}
int rename(const char *from, const char *to) {
    return renamed(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    return renamed(from_dir, from, to_dir, to, 0);
}
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    return renamed(from_dir, from, to_dir, to, flags);
}

static int unlinked(int dir, const char *path, int flags) {
    char below[PATH_MAX];
    if (!watching() || !locate(dir, path, below))
        return (int)syscall(SYS_unlinkat, dir, path, flags);
    pthread_mutex_lock(&lock);
    struct stat before;
    int counts = fstatat(dir, path, &before, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(before.st_mode) && before.st_nlink == 1;
    uint64_t id = note(UNLINK, 0, 0, 0, below, NULL, NULL, 0);
    int done = (int)syscall(SYS_unlinkat, dir, path, flags);
    if (done)
        amend(id, -1);
    else if (counts)
        give_back(before.st_size);
    pthread_mutex_unlock(&lock);
    return done;
}
int unlink(const char *path) {
    return unlinked(AT_FDCWD, path, 0);
}
int unlinkat(int dir, const char *path, int flags) {
    return unlinked(dir, path, flags);
}
int rmdir(const char *path) {
    return unlinked(AT_FDCWD, path, AT_REMOVEDIR);
}
int remove(const char *path) {
    struct stat before;
    if (lstat(path, &before))
        return -1;
    return unlinked(AT_FDCWD, path, S_ISDIR(before.st_mode) ? AT_REMOVEDIR : 0);
}

int mkdirat(int dir, const char *path, mode_t mode) {
    char below[PATH_MAX];
    if (!watching() || !locate(dir, path, below))
        return (int)syscall(SYS_mkdirat, dir, path, mode);
    if (is_full())
        return refuse();
    pthread_mutex_lock(&lock);
    uint64_t id = note(MKDIR, 0, 0, 0, below, NULL, NULL, 0);
    int done = (int)syscall(SYS_mkdirat, dir, path, mode);
    if (done)
        amend(id, -1);
    pthread_mutex_unlock(&lock);
    return done;
}
int mkdir(const char *path, mode_t mode) {
    return mkdirat(AT_FDCWD, path, mode);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    char below_from[PATH_MAX], below_to[PATH_MAX];
    int known = watching() && locate(from_dir, from, below_from);
    int comes = watching() && locate(to_dir, to, below_to);
    if (!comes)
        return (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    if (!known)
        give_up("a file that comes from outside is not modelled", to);
    pthread_mutex_lock(&lock);
    uint64_t id = note(LINK, 0, 0, 0, below_from, below_to, NULL, 0);
    int done = (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    if (done)
        amend(id, -1);
    pthread_mutex_unlock(&lock);
    return done;
}
int link(const char *from, const char *to) {
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}
