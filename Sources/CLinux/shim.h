// SPDX-License-Identifier: Apache-2.0
// Linux system calls that the Glibc module does not show to Swift (variadic, macro or newer than its headers).
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "file_system.h"

#define LIFEBOAT_RENAME_NOREPLACE 1u
#define LIFEBOAT_RENAME_EXCHANGE 2u

// Shown by the C library only to sources that ask for GNU extensions; the number is the kernel's.
#ifndef F_OFD_SETLK
#define F_OFD_SETLK 37
#endif

/// fcntl(2) with F_OFD_SETLK: a shared lock of the open file itself, which other descriptors of this process do not drop.
/// -1 and errno on failure.
static inline int lifeboat_lock_shared(int descriptor, off_t start, off_t length) {
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(descriptor, F_OFD_SETLK, &lock);
}

/// fcntl(2) with F_GETLK: the process that holds any lock in the range, 0 when none does, -1 for one that is no
/// process's (a lock of an open file); -2 and errno on failure.
static inline pid_t lifeboat_lock_holder(int descriptor, off_t start, off_t length) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    if (fcntl(descriptor, F_GETLK, &lock) != 0) return -2;
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

/// ioctl(2) FICLONE of linux/fs.h: `target` shares all blocks of `source`; -1 and errno on failure.
static inline int lifeboat_clone_file(int target, int source) {
    return ioctl(target, _IOW(0x94, 9, int), source);
}

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

/// The process's environment block, for reading at the moment a child is made.
static inline char **lifeboat_environment(void) {
    extern char **environ;
    return environ;
}

/// write(2) that gives EPIPE without raising SIGPIPE, whatever the calling thread's signal mask is.
static inline ssize_t lifeboat_write_no_sigpipe(int descriptor, const void *bytes, size_t count) {
    sigset_t pipe_signal, previous, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &previous);
    sigpending(&pending);
    ssize_t written = write(descriptor, bytes, count);
    int error = errno;
    if (written < 0 && error == EPIPE && !sigismember(&pending, SIGPIPE)) {
        const struct timespec none = {0, 0};
        while (sigtimedwait(&pipe_signal, NULL, &none) < 0 && errno == EINTR) {
        }
    }
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    errno = error;
    return written;
}

/// Grows a pipe's buffer as fcntl(2) F_SETPIPE_SZ does; -1 when the limit of the user does not allow it.
static inline int lifeboat_set_pipe_size(int descriptor, int bytes) {
    return fcntl(descriptor, 1031 /* F_SETPIPE_SZ */, bytes);
}

/// fcntl(2) F_SETFL, which is variadic.
static inline int lifeboat_set_status_flags(int descriptor, int flags) {
    return fcntl(descriptor, F_SETFL, flags);
}

/// pipe2(2), declared only for GNU sources.
static inline int lifeboat_pipe_cloexec(int ends[2]) {
    return (int)syscall(SYS_pipe2, ends, O_CLOEXEC);
}

/// pidfd_open(2): a descriptor that polls readable once the process has ended.
static inline int lifeboat_pidfd_open(pid_t process) {
    return (int)syscall(SYS_pidfd_open, process, 0);
}

/// How a child ended: waitid(2) for one process. Fills `status` with the exit status or the signal and `signalled`
/// with which of the two it is. -1 and errno on failure.
static inline int lifeboat_reap(pid_t process, int *status, int *signalled) {
    siginfo_t info;
    info.si_code = 0;
    info.si_status = 0;
    while (waitid(P_PID, (id_t)process, &info, WEXITED) < 0) {
        if (errno != EINTR) {
            return -1;
        }
    }
    *status = info.si_status;
    *signalled = info.si_code != CLD_EXITED;
    return 0;
}

/// The step at which making a child failed.
enum {
    LIFEBOAT_SPAWN_FORK = 1,
    LIFEBOAT_SPAWN_FOLDER = 2,
    LIFEBOAT_SPAWN_USER = 3,
    LIFEBOAT_SPAWN_DESCRIPTORS = 4,
    LIFEBOAT_SPAWN_EXECUTE = 5,
};

/// The child's side of lifeboat_spawn: only async-signal-safe calls, for the parent has threads. Never returns.
static inline void lifeboat_become(
    const char *program, char *const arguments[], char *const environment[], const char *folder, int switch_user,
    uid_t user, int switch_group, gid_t group, const int standard[3], int report) {
    int step = LIFEBOAT_SPAWN_DESCRIPTORS;
    // Above 2, so that no dup2 below hits a descriptor that is still needed.
    int streams[3];
    report = fcntl(report, F_DUPFD_CLOEXEC, 3);
    if (report < 0) {
        _exit(127);
    }
    for (int index = 0; index < 3; index++) {
        streams[index] = fcntl(standard[index], F_DUPFD_CLOEXEC, 3);
        if (streams[index] < 0) {
            goto failed;
        }
    }
    for (int index = 0; index < 3; index++) {
        if (dup2(streams[index], index) < 0) {
            goto failed;
        }
    }
    if (syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */) < 0) {
        goto failed;
    }
    // A session is a process group too, and has no controlling terminal to ask a password on.
    setsid();
    for (int number = 1; number < NSIG; number++) {
        signal(number, SIG_DFL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    step = LIFEBOAT_SPAWN_USER;
    // The system calls themselves: the C library's functions also signal threads, which this process no longer has.
    if ((switch_user || switch_group) && syscall(SYS_setgroups, 0, NULL) < 0) {
        goto failed;
    }
    if (switch_group && syscall(SYS_setresgid, group, group, group) < 0) {
        goto failed;
    }
    if (switch_user && syscall(SYS_setresuid, user, user, user) < 0) {
        goto failed;
    }
    step = LIFEBOAT_SPAWN_FOLDER;
    if (folder != NULL && chdir(folder) < 0) {
        goto failed;
    }
    step = LIFEBOAT_SPAWN_EXECUTE;
    execve(program, arguments, environment);
failed:;
    int message[2] = {step, errno};
    ssize_t ignored = write(report, message, sizeof message);
    (void)ignored;
    _exit(127);
}

/// Makes a child in a session of its own that runs `program` with the three descriptors of `standard` as 0, 1, 2 and
/// no other. Returns its process id, or -1 with the failed step and errno.
static inline pid_t lifeboat_spawn(
    const char *program, char *const arguments[], char *const environment[], const char *folder, int switch_user,
    uid_t user, int switch_group, gid_t group, const int standard[3], int *step, int *error) {
    int ends[2];
    *step = LIFEBOAT_SPAWN_FORK;
    // Were SIGCHLD ignored (inherited from our parent), the kernel would reap the child and its status be lost.
    struct sigaction children;
    if (sigaction(SIGCHLD, NULL, &children) == 0 && children.sa_handler == SIG_IGN) {
        signal(SIGCHLD, SIG_DFL);
    }
    if (lifeboat_pipe_cloexec(ends) < 0) {
        *error = errno;
        return -1;
    }
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    pid_t child = fork();
    if (child == 0) {
        lifeboat_become(
            program, arguments, environment, folder, switch_user, user, switch_group, group, standard, ends[1]);
    }
    int fork_error = errno;
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        *error = fork_error;
        return -1;
    }
    // End of file: the report's end was closed by a successful execve.
    int message[2];
    ssize_t count;
    do {
        count = read(ends[0], message, sizeof message);
    } while (count < 0 && errno == EINTR);
    close(ends[0]);
    if (count == 0) {
        return child;
    }
    int status, signalled;
    lifeboat_reap(child, &status, &signalled);
    *step = count == sizeof message ? message[0] : LIFEBOAT_SPAWN_FORK;
    *error = count == sizeof message ? message[1] : EIO;
    return -1;
}

/// memfd_create(2), closed on exec.
static inline int lifeboat_memory_file(const char *name) {
    return (int)syscall(SYS_memfd_create, name, 1u /* MFD_CLOEXEC */);
}

/// mallopt(3) M_ARENA_MAX: at most so many arenas; 0 when that is refused.
static inline int lifeboat_limit_arenas(int count) {
    return mallopt(M_ARENA_MAX, count);
}
