/* Stands between the host and the system's file calls, by LD_PRELOAD, and does what only an outsider can:
 *
 *   WEFT_SHIM_COUNT=FILE   counts fdatasync calls in a 64-bit number at the start of FILE, and those under way in the next.
 *   WEFT_SHIM_HOLD=1       is the control of the kill tests: what is written to the store's file stays in this process's
 *                          memory, as if nothing had been flushed, so that kill -9 loses it. Reads see it.
 *   WEFT_SHIM_FAIL=N:ERRNO the Nth call that writes to a file below a folder `store` fails with ENOSPC or EIO; a full disk
 *                          stays full.
 *   WEFT_SHIM_UNDO=FILE    appends to FILE what stood where something is written below `store` and `blobs`, and when files
 *                          were flushed, so that a test can take back what a power cut would have lost: see power.rs.
 *                          sync_file_range flushes nothing; that files are made, renamed and removed is durable at once.
 *   WEFT_SHIM_NOSYNC=1     is the control of the power tests: flushing the store's file does nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))

/* The system's own function, looked up once for each place that asks. */
static void *real_of(void **kept, const char *name) {
    if (!*kept) *kept = dlsym(RTLD_NEXT, name);
    if (!*kept) abort();
    return *kept;
}
#define real(name) (__extension__({ static void *kept; real_of(&kept, name); }))

static _Atomic uint64_t *count;
static int hold, nosync;

static uint64_t fail_at;
static int fail_errno;
static _Atomic uint64_t writing_calls;

static int undo = -1;
static uint64_t sequence;
static pthread_mutex_t undo_lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("WEFT_SHIM_COUNT");
    if (path) {
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        if (fd < 0 || REAL(ftruncate64)(fd, 4096) != 0) abort();
        count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (count == MAP_FAILED) abort();
        close(fd);
    }
    hold = getenv("WEFT_SHIM_HOLD") != NULL;
    nosync = getenv("WEFT_SHIM_NOSYNC") != NULL;
    const char *fail = getenv("WEFT_SHIM_FAIL");
    if (fail) {
        char *end;
        fail_at = strtoull(fail, &end, 10);
        fail_errno = strcmp(end, ":ENOSPC") == 0 ? ENOSPC : strcmp(end, ":EIO") == 0 ? EIO : 0;
        if (!fail_at || !fail_errno) abort();
    }
    path = getenv("WEFT_SHIM_UNDO");
    if (path && (undo = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0) abort();
}

/* The path of an open file, in `path`. */
static int path_of(int fd, char path[4096]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, 4095);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int is_store(int fd) {
    char path[4096];
    size_t length = path_of(fd, path) ? strlen(path) : 0;
    return length > 9 && strcmp(path + length - 9, "/store/db") == 0;
}

static int is_kept(const char *path) { return strstr(path, "/store/") || strstr(path, "/blobs/"); }

/* ---- Failures ---- */

/* Whether this call is one that fails; then errno says why. */
static int fails(int fd) {
    char path[4096];
    if (!fail_at || fd <= 2 || !path_of(fd, path) || !strstr(path, "/store/")) return 0;
    uint64_t call = atomic_fetch_add(&writing_calls, 1) + 1;
    if (call != fail_at && !(call > fail_at && fail_errno == ENOSPC)) return 0;
    errno = fail_errno;
    return 1;
}

/* ---- What a power cut would take back ---- */

enum { WRITTEN = 1, SYNCED = 2, RENAMED = 3, REMOVED = 4 };

/* The head of an entry; the path, the other path and the bytes follow. */
struct entry {
    uint64_t kind, sequence, offset, old_length, path_length, other_length, bytes_length;
};

/* Appends an entry in one write. The lock is held. */
static void append(struct entry entry, const char *path, const char *other, const char *bytes) {
    entry.path_length = strlen(path);
    entry.other_length = other ? strlen(other) : 0;
    size_t length = sizeof entry + entry.path_length + entry.other_length + entry.bytes_length;
    char *whole = malloc(length), *at = whole;
    if (!whole) abort();
    at = mempcpy(at, &entry, sizeof entry);
    at = mempcpy(at, path, entry.path_length);
    if (other) at = mempcpy(at, other, entry.other_length);
    if (bytes) memcpy(at, bytes, entry.bytes_length);
    if (REAL(write)(undo, whole, length) != (ssize_t)length) abort();
    free(whole);
}

/* Remembers what stands in a part of a file, which is about to change. The lock is held. */
static void remember(int fd, const char *path, uint64_t offset, uint64_t length) {
    struct stat facts;
    if (fstat(fd, &facts) != 0) abort();
    uint64_t old_length = (uint64_t)facts.st_size;
    uint64_t there = offset >= old_length ? 0 : old_length - offset < length ? old_length - offset : length;
    char *bytes = malloc(there + 1), reopened[64];
    if (!bytes) abort();
    /* The descriptor may be for writing only. */
    snprintf(reopened, sizeof reopened, "/proc/self/fd/%d", fd);
    int readable = open(reopened, O_RDONLY | O_CLOEXEC);
    if (readable < 0) abort();
    for (uint64_t at = 0; at < there;) {
        ssize_t got = REAL(pread64)(readable, bytes + at, there - at, (off64_t)(offset + at));
        if (got <= 0) abort();
        at += (uint64_t)got;
    }
    close(readable);
    struct entry entry = {
        .kind = WRITTEN, .sequence = ++sequence, .offset = offset, .old_length = old_length, .bytes_length = there};
    append(entry, path, NULL, bytes);
    free(bytes);
}

/* Whether changes of this file are remembered; then the lock is held. */
static int begin(int fd, char path[4096]) {
    if (undo < 0 || fd <= 2 || !path_of(fd, path) || !is_kept(path)) return 0;
    pthread_mutex_lock(&undo_lock);
    return 1;
}

static void end(int begun) {
    if (begun) pthread_mutex_unlock(&undo_lock);
}

/* ---- Held writes ---- */

/* The held file, whole, as it was when it was first used: stores in tests are small. */
static char *held;
static size_t held_length;
static int loaded;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void load(int fd) {
    struct stat facts;
    if (loaded || fstat(fd, &facts) != 0) return;
    loaded = 1;
    held_length = (size_t)facts.st_size;
    held = malloc(held_length + 1);
    for (size_t at = 0; held && at < held_length;) {
        ssize_t got = REAL(pread64)(fd, held + at, held_length - at, (off64_t)at);
        if (got <= 0) abort();
        at += (size_t)got;
    }
    if (!held) abort();
}

static ssize_t hold_back(int fd, const void *bytes, size_t length, off64_t at) {
    pthread_mutex_lock(&lock);
    load(fd);
    size_t end = (size_t)at + length;
    if (end > held_length) {
        char *grown = realloc(held, end);
        if (!grown) abort();
        memset(grown + held_length, 0, end - held_length);
        held = grown;
        held_length = end;
    }
    memcpy(held + at, bytes, length);
    pthread_mutex_unlock(&lock);
    return (ssize_t)length;
}

/* ---- The calls ---- */

static int sync_with(int (*sync)(int), int fd) {
    char path[4096];
    if ((hold || nosync) && is_store(fd)) return 0;
    if (fails(fd)) return -1;
    int begun = begin(fd, path);
    /* What is written from here on may not be part of it. */
    struct entry entry = {.kind = SYNCED, .sequence = sequence};
    end(begun);
    int done = sync(fd);
    if (begun && done == 0) {
        pthread_mutex_lock(&undo_lock);
        append(entry, path, NULL, NULL);
        pthread_mutex_unlock(&undo_lock);
    }
    return done;
}

int fdatasync(int fd) {
    if (!count) return sync_with(REAL(fdatasync), fd);
    atomic_fetch_add(count, 1);
    atomic_fetch_add(count + 1, 1);
    int done = sync_with(REAL(fdatasync), fd);
    atomic_fetch_sub(count + 1, 1);
    return done;
}

int fsync(int fd) { return sync_with(REAL(fsync), fd); }

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    char path[4096];
    if (hold && is_store(fd)) return hold_back(fd, bytes, length, at);
    if (fails(fd)) return -1;
    int begun = begin(fd, path);
    if (begun) remember(fd, path, (uint64_t)at, length);
    ssize_t done = REAL(pwrite64)(fd, bytes, length, at);
    end(begun);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    char path[4096];
    if (fails(fd)) return -1;
    int begun = begin(fd, path);
    if (begun) remember(fd, path, (uint64_t)lseek64(fd, 0, SEEK_CUR), length);
    ssize_t done = REAL(write)(fd, bytes, length);
    end(begun);
    return done;
}

int ftruncate64(int fd, off64_t length) {
    char path[4096];
    if (fails(fd)) return -1;
    int begun = begin(fd, path);
    if (begun) remember(fd, path, (uint64_t)length, UINT64_MAX);
    int done = REAL(ftruncate64)(fd, length);
    end(begun);
    return done;
}

int rename(const char *from, const char *to) {
    int begun = undo >= 0 && is_kept(from);
    if (begun) {
        pthread_mutex_lock(&undo_lock);
        append((struct entry){.kind = RENAMED}, from, to, NULL);
    }
    int done = REAL(rename)(from, to);
    end(begun);
    return done;
}

int unlink(const char *path) {
    int begun = undo >= 0 && is_kept(path);
    if (begun) {
        pthread_mutex_lock(&undo_lock);
        append((struct entry){.kind = REMOVED}, path, NULL, NULL);
    }
    int done = REAL(unlink)(path);
    end(begun);
    return done;
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t at) {
    if (!hold || !is_store(fd)) return REAL(pread64)(fd, bytes, length, at);
    pthread_mutex_lock(&lock);
    load(fd);
    ssize_t there = 0;
    if ((size_t)at < held_length) {
        there = (ssize_t)(held_length - (size_t)at < length ? held_length - (size_t)at : length);
        memcpy(bytes, held + at, (size_t)there);
    }
    pthread_mutex_unlock(&lock);
    return there;
}
