/* What stands between a program under test and its files: a library that is loaded before libc (LD_PRELOAD).
 *
 * Below one directory it writes every change into a journal before the change is made, and notes which changes
 * have been synced since. It can also make syncs slow, pretend that the disk is full, and lie about syncs. From the
 * journal the test (disk.rs and what lies beside it) makes the directory that a power cut would have left.
 *
 * The changes themselves are real: as long as the power is on, everything reads as it was written. A sync is noted,
 * not done: after kill -9 the kernel keeps all that was written anyway, and what it keeps is never asked.
 *
 * What it can't see: writes through stdio, mmap and io_uring, and system calls made without libc. The test compares
 * the journal's outcome with the real directory before each cut, so that such writes do not go unnoticed. A sync made
 * without libc counts for nothing: a test may then fail without need, but never pass.
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
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The layouts that journal.rs and disk.rs share with this file. */
enum kind { OPEN = 1, WRITE, TRUNCATE, SYNC_BEGIN, SYNC_END, RENAME, UNLINK, MKDIR, LINK, AMEND };
enum flag { CREATES = 1, TRUNCATES = 2, EXCLUSIVE = 4 };

struct header {
    uint32_t total_bytes;
    uint8_t kind;
    uint8_t flags;
    uint16_t path_bytes;
    uint16_t other_path_bytes;
    uint16_t unused;
    uint32_t data_bytes;
    uint64_t id;
    uint64_t about;
    int64_t number;
} __attribute__((packed));

struct control {
    uint64_t sync_delay_micros;
    uint64_t limited;
    int64_t room_bytes;
    uint64_t ignores_syncs;
    uint64_t refusals;
    uint64_t syncs;
};

struct handle {
    uint64_t id; /* 0: not below the directory */
    int appends;
};

#define HANDLES_MAX 65536

static struct handle handles[HANDLES_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t begun = PTHREAD_ONCE_INIT;
static char root[PATH_MAX];
static size_t root_bytes;
static int journal = -1;
static struct control *control;
static uint64_t next_id;

static void give_up(const char *why, const char *what) {
    fprintf(stderr, "testkit's disk shim: %s: %s (%s)\n", why, what, strerror(errno));
    abort();
}

static void begin(void) {
    const char *dir = getenv("TESTKIT_DISK_DIR");
    const char *journal_path = getenv("TESTKIT_DISK_JOURNAL");
    const char *control_path = getenv("TESTKIT_DISK_CONTROL");
    if (!dir || !journal_path || !control_path)
        return;
    if (strlen(dir) >= sizeof root)
        give_up("the directory's path is too long", dir);
    strcpy(root, dir);
    root_bytes = strlen(root);
    int file = (int)syscall(SYS_openat, AT_FDCWD, control_path, O_RDWR | O_CLOEXEC, 0);
    if (file < 0)
        give_up("can't open", control_path);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (control == MAP_FAILED)
        give_up("can't map", control_path);
    syscall(SYS_close, file);
    if (getrandom(&next_id, sizeof next_id, 0) != sizeof next_id)
        give_up("no random number for", "the records of this process");
    journal = (int)syscall(SYS_openat, AT_FDCWD, journal_path, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    if (journal < 0)
        give_up("can't open", journal_path);
}

static int watching(void) {
    pthread_once(&begun, begin);
    return journal >= 0;
}

__attribute__((constructor)) static void at_start(void) {
    watching();
}

/* Appends one record. Called with the lock held, before the change is made. */
static uint64_t note(enum kind kind, int flags, uint64_t about, int64_t number, const char *path, const char *other_path,
                     const void *data, size_t data_bytes) {
    uint64_t id = ++next_id;
    if (id == 0)
        id = ++next_id;
    struct header header = {
        .kind = (uint8_t)kind,
        .flags = (uint8_t)flags,
        .path_bytes = (uint16_t)(path ? strlen(path) : 0),
        .other_path_bytes = (uint16_t)(other_path ? strlen(other_path) : 0),
        .data_bytes = (uint32_t)data_bytes,
        .id = id,
        .about = about,
        .number = number,
    };
    size_t total = sizeof header + header.path_bytes + header.other_path_bytes + data_bytes;
    header.total_bytes = (uint32_t)total;
    struct iovec parts[4] = {
        {&header, sizeof header},
        {(void *)path, header.path_bytes},
        {(void *)other_path, header.other_path_bytes},
        {(void *)data, data_bytes},
    };
    if (syscall(SYS_writev, journal, parts, 4) != (ssize_t)total)
        give_up("can't write", "the journal");
    return id;
}

/* Says that a change came out otherwise than its record says. */
static void amend(uint64_t id, int64_t outcome) {
    int was = errno;
    note(AMEND, 0, id, outcome, NULL, NULL, NULL, 0);
    errno = was;
}

static struct handle handle_of(int fd) {
    if (fd < 0 || fd >= HANDLES_MAX)
        return (struct handle){0, 0};
    return (struct handle){__atomic_load_n(&handles[fd].id, __ATOMIC_RELAXED), handles[fd].appends};
}

static void remember(int fd, struct handle handle) {
    if (fd < 0)
        return;
    if (fd >= HANDLES_MAX) {
        if (handle.id)
            give_up("too many descriptors", "");
        return;
    }
    handles[fd].appends = handle.appends;
    __atomic_store_n(&handles[fd].id, handle.id, __ATOMIC_RELAXED);
}

/* Finds the path below the directory, without links and dots; 0 if it lies elsewhere. */
static int locate(int dir, const char *path, char *below) {
    char whole[2 * PATH_MAX], real[PATH_MAX];
    if (path[0] == '/') {
        if (snprintf(whole, sizeof whole, "%s", path) >= (int)sizeof whole)
            return 0;
    } else {
        char base[PATH_MAX];
        if (dir == AT_FDCWD) {
            if (!getcwd(base, sizeof base))
                return 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
            ssize_t bytes = readlink(link, base, sizeof base - 1);
            if (bytes < 0)
                return 0;
            base[bytes] = 0;
        }
        snprintf(whole, sizeof whole, "%s/%s", base, path);
    }
    size_t bytes = strlen(whole);
    while (bytes > 1 && whole[bytes - 1] == '/')
        whole[--bytes] = 0;
    char *slash = strrchr(whole, '/');
    if (!slash)
        return 0;
    const char *name = slash + 1;
    int was = errno;
    if (!strcmp(name, ".") || !strcmp(name, "..")) {
        if (!realpath(whole, real))
            goto elsewhere;
    } else {
        char last[NAME_MAX + 1];
        if (strlen(name) > NAME_MAX)
            goto elsewhere;
        strcpy(last, name);
        *slash = 0;
        if (!realpath(slash == whole ? "/" : whole, real))
            goto elsewhere;
        size_t parent = strlen(real);
        if (snprintf(real + parent, sizeof real - parent, "%s%s", parent == 1 ? "" : "/", last) >= (int)(sizeof real - parent))
            goto elsewhere;
    }
    errno = was;
    if (strncmp(real, root, root_bytes) || (real[root_bytes] && real[root_bytes] != '/'))
        return 0;
    strcpy(below, real[root_bytes] ? real + root_bytes + 1 : "");
    return 1;
elsewhere:
    errno = was;
    return 0;
}

static int is_full(void) {
    return __atomic_load_n(&control->limited, __ATOMIC_RELAXED) && __atomic_load_n(&control->room_bytes, __ATOMIC_RELAXED) <= 0;
}

static int refuse(void) {
    __atomic_add_fetch(&control->refusals, 1, __ATOMIC_RELAXED);
    errno = ENOSPC;
    return -1;
}

static void give_back(int64_t bytes) {
    if (bytes > 0)
        __atomic_add_fetch(&control->room_bytes, bytes, __ATOMIC_RELAXED);
}
