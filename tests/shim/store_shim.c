/* Stands between the host and the system's file calls, by LD_PRELOAD, and does two things that only an outsider can:
 *
 *   WEFT_SHIM_COUNT=FILE   counts fdatasync calls in a 64-bit number at the start of FILE, which the test maps too.
 *   WEFT_SHIM_HOLD=1       is the control of the kill tests: what is written to the store's file stays in this process's
 *                          memory, as if nothing had been flushed, so that kill -9 loses it. Reads see it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
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

static _Atomic uint64_t *count;
static int hold;

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
    ssize_t (*real)(int, void *, size_t, off64_t) = (ssize_t (*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");
    for (size_t at = 0; held && at < held_length;) {
        ssize_t got = real(fd, held + at, held_length - at, (off64_t)at);
        if (got <= 0) abort();
        at += (size_t)got;
    }
    if (!held) abort();
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("WEFT_SHIM_COUNT");
    if (path) {
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        if (fd < 0 || ftruncate(fd, 4096) != 0) abort();
        count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (count == MAP_FAILED) abort();
        close(fd);
    }
    hold = getenv("WEFT_SHIM_HOLD") != NULL;
}

static int is_store(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return length > 9 && strcmp(path + length - 9, "/store/db") == 0;
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (count) atomic_fetch_add(count, 1);
    return hold && is_store(fd) ? 0 : real(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    if (!hold || !is_store(fd)) return real(fd, bytes, length, at);
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

ssize_t pread64(int fd, void *bytes, size_t length, off64_t at) {
    static ssize_t (*real)(int, void *, size_t, off64_t);
    if (!real) real = (ssize_t (*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");
    if (!hold || !is_store(fd)) return real(fd, bytes, length, at);
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
