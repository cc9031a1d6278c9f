/* Loaded ahead of libc: each fsync and fdatasync takes CIM_FSYNC_S seconds more, while the file
 * named by CIM_FSYNC_SWITCH exists where that is set. A disk that is slow, without a slow disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void wait(void) {
    const char *gate = getenv("CIM_FSYNC_SWITCH");
    if (gate != NULL && access(gate, F_OK) != 0) return;
    const char *text = getenv("CIM_FSYNC_S");
    double seconds = text != NULL ? atof(text) : 0.0;
    struct timespec left = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    while (seconds > 0.0 && nanosleep(&left, &left) != 0) {}
}

int fsync(int descriptor) {
    wait();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(descriptor);
}

int fdatasync(int descriptor) {
    wait();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(descriptor);
}
