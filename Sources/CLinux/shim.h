// SPDX-License-Identifier: Apache-2.0
// Linux system calls that the Glibc module does not show to Swift (variadic, macro or newer than its headers).
#pragma once

#include <errno.h>
#include <stdint.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIFEBOAT_RENAME_NOREPLACE 1u
#define LIFEBOAT_RENAME_EXCHANGE 2u

/// renameat2(2); -1 and errno on failure.
static inline int lifeboat_renameat2(
    int old_folder, const char *old_path, int new_folder, const char *new_path, unsigned int flags) {
    return (int)syscall(SYS_renameat2, old_folder, old_path, new_folder, new_path, flags);
}

/// The XSI strerror_r(3): fills `buffer` with the text of `error`, cut to fit.
static inline void lifeboat_strerror(int error, char *buffer, size_t size) {
    extern int __xpg_strerror_r(int, char *, size_t);
    __xpg_strerror_r(error, buffer, size);
}

/// Names the calling thread (at most 15 bytes count), as prctl(2) PR_SET_NAME does.
static inline void lifeboat_set_thread_name(const char *name) {
    (void)prctl(PR_SET_NAME, name, 0, 0, 0);
}
