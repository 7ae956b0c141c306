// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// What happens to the built program at the n-th call that changes something on disk, counted over all its threads.
///
/// A library put before libc (LD_PRELOAD) makes it happen: `strace -e inject` counts each thread by itself, which leaves
/// the calls of the quieter threads unreached. Child processes are left alone.
package struct ScenarioFault: Sendable {
    package enum Kind: Sendable, Equatable {
        /// SIGKILL instead of the call.
        case kill
        /// SIGKILL just after the call had its effect.
        case killAfter
        /// The call fails with this errno, once.
        case error(Int32)
        /// It and every call after it fail: a disk that is full stays so.
        case errorFromThere(Int32)
        /// A signal to the process just before the call, which then is made.
        case signal(Int32)
        /// Every write writes at most half, from the n-th call on.
        case shortWrites
    }

    package var kind: Kind
    /// 1 is the first; 0 never comes: it only counts.
    package var position: Int
    /// The calls that count; empty: all that change something.
    package var calls: [String]
    /// Only renames to paths that hold this count; empty: all.
    package var path: String

    package init(_ kind: Kind, at position: Int, of calls: [String] = [], path: String = "") {
        self.kind = kind
        self.position = position
        self.calls = calls
        self.path = path
    }

    /// Environment for the program. The report is a file that gets the call hit, if any, and the number counted.
    package func environment(report: String) throws -> [String: String] {
        let (word, number): (String, Int32) =
            switch kind {
            case .kill: ("kill", 0)
            case .killAfter: ("kill-after", 0)
            case .error(let errorNumber): ("error", errorNumber)
            case .errorFromThere(let errorNumber): ("error-on", errorNumber)
            case .signal(let signal): ("signal", signal)
            case .shortWrites: ("short", 0)
            }
        return [
            "LD_PRELOAD": try Self.library.get(), "FAULT_KIND": word, "FAULT_NUMBER": "\(number)",
            "FAULT_AT": "\(position)", "FAULT_CALLS": calls.map { "\($0)," }.joined(), "FAULT_REPORT": report,
            "FAULT_PATH": path,
        ]
    }

    /// The library, compiled once a process with the C compiler of the Swift toolchain.
    private static let library: Result<String, any Error> = {
        do {
            let folder = try TemporaryFolder(prefix: "lifeboat-fault-library-")
            atExit { try? folder.remove() }
            let source = "\(folder.path)/faults.c"
            let library = "\(folder.path)/faults.so"
            try AtomicFile.write(Self.source, to: source)
            let result = try SystemProcessRunner().run(
                ProcessCommand("clang", ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"]))
            guard result.termination.succeeded else {
                throw LifeboatError("the fault library does not compile", causes: [result.standardError])
            }
            // Tests run the program as other users too.
            chmod(folder.path, 0o755)
            chmod(library, 0o755)
            return .success(library)
        } catch {
            return .failure(error)
        }
    }()
}

extension ScenarioFault {
    private static let source = #"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <fcntl.h>
        #include <signal.h>
        #include <stdarg.h>
        #include <stdatomic.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/stat.h>
        #include <sys/syscall.h>
        #include <unistd.h>

        /* Looked up at the first use: other libraries open files before this one is started. */
        static long (*found_syscall)(long, ...);
        static long (*real(void))(long, ...) {
            if (found_syscall == NULL) found_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
            return found_syscall;
        }
        #define real_syscall (real())

        static int armed;
        static pid_t self;
        static char kind[16], calls[256], report_path[512], path_part[256];
        static int number;
        static long position;
        static _Atomic long count;

        static void report(const char *call, long n) {
            char line[128];
            int length = snprintf(line, sizeof line, "%s %ld\n", call, n);
            int file = (int)real_syscall(SYS_openat, AT_FDCWD, report_path, O_WRONLY | O_CREAT | O_APPEND, 0666);
            if (file >= 0) {
                real_syscall(SYS_write, file, line, (long)length);
                real_syscall(SYS_close, file);
            }
        }

        __attribute__((constructor)) static void start(void) {
            if (strcmp(program_invocation_short_name, "lifeboat") != 0 || getenv("FAULT_KIND") == NULL) return;
            snprintf(kind, sizeof kind, "%s", getenv("FAULT_KIND"));
            snprintf(calls, sizeof calls, "%s", getenv("FAULT_CALLS"));
            snprintf(report_path, sizeof report_path, "%s", getenv("FAULT_REPORT"));
            if (getenv("FAULT_PATH") != NULL) snprintf(path_part, sizeof path_part, "%s", getenv("FAULT_PATH"));
            number = atoi(getenv("FAULT_NUMBER"));
            position = atol(getenv("FAULT_AT"));
            unsetenv("LD_PRELOAD");
            self = getpid();
            armed = 1;
        }

        __attribute__((destructor)) static void finish(void) {
            if (armed && getpid() == self) report("counted", count);
        }

        /* 0: go on; 1: fail with errno set; 2: kill after the call; 3: write less. */
        static int fault_at(const char *call, const char *path) {
            if (!armed || getpid() != self) return 0;
            if (path_part[0] != 0 && (path == NULL || strstr(path, path_part) == NULL)) return 0;
            char word[32];
            snprintf(word, sizeof word, "%s,", call);
            if (calls[0] != 0 && strstr(calls, word) == NULL) return 0;
            long n = atomic_fetch_add(&count, 1) + 1;
            int goes_on = strcmp(kind, "error-on") == 0 || strcmp(kind, "short") == 0;
            if (position == 0 || n < position || (n > position && !goes_on)) return 0;
            if (n == position) report(call, n);
            if (strcmp(kind, "kill") == 0) {
                kill(self, SIGKILL);
                for (;;) pause();
            }
            if (strcmp(kind, "kill-after") == 0) return 2;
            if (strcmp(kind, "signal") == 0) {
                kill(self, number);
                return 0;
            }
            if (strcmp(kind, "short") == 0) return 3;
            errno = number;
            return 1;
        }

        static int fault(const char *call) { return fault_at(call, NULL); }

        static long done(int verdict, long result) {
            if (verdict == 2) {
                kill(self, SIGKILL);
                for (;;) pause();
            }
            return result;
        }

        static int is_file(int descriptor) {
            struct stat status;
            return descriptor > 2 && fstat(descriptor, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
        }

        static long raw(long result) { return result; }

        #define GUARDED(name, expression)                                                                              \
            do {                                                                                                       \
                int verdict = fault(name);                                                                             \
                if (verdict == 1) return -1;                                                                           \
                return (int)done(verdict, raw(real_syscall expression));                                               \
            } while (0)

        ssize_t write(int descriptor, const void *bytes, size_t size) {
            int verdict = is_file(descriptor) ? fault("write") : 0;
            if (verdict == 1) return -1;
            if (verdict == 3 && size > 1) size /= 2;
            return done(verdict, real_syscall(SYS_write, descriptor, bytes, size));
        }
        ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t offset) {
            int verdict = fault("write");
            if (verdict == 1) return -1;
            if (verdict == 3 && size > 1) size /= 2;
            return done(verdict, real_syscall(SYS_pwrite64, descriptor, bytes, size, offset));
        }
        ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off_t offset) {
            return pwrite(descriptor, bytes, size, offset);
        }
        int fsync(int descriptor) { GUARDED("fsync", (SYS_fsync, descriptor)); }
        int fdatasync(int descriptor) { GUARDED("fsync", (SYS_fdatasync, descriptor)); }
        int ftruncate(int descriptor, off_t size) { GUARDED("ftruncate", (SYS_ftruncate, descriptor, size)); }
        int link(const char *a, const char *b) { GUARDED("link", (SYS_linkat, AT_FDCWD, a, AT_FDCWD, b, 0)); }
        int linkat(int a, const char *b, int c, const char *d, int e) { GUARDED("link", (SYS_linkat, a, b, c, d, e)); }
        int symlinkat(const char *a, int b, const char *c) { GUARDED("symlink", (SYS_symlinkat, a, b, c)); }
        int symlink(const char *a, const char *b) { GUARDED("symlink", (SYS_symlinkat, a, AT_FDCWD, b)); }
        int mknodat(int a, const char *b, mode_t c, dev_t d) { GUARDED("mknod", (SYS_mknodat, a, b, c, d)); }
        int fchmod(int a, mode_t b) { GUARDED("attribute", (SYS_fchmod, a, b)); }
        int fchown(int a, uid_t b, gid_t c) { GUARDED("attribute", (SYS_fchown, a, b, c)); }
        int fchownat(int a, const char *b, uid_t c, gid_t d, int e) {
            GUARDED("attribute", (SYS_fchownat, a, b, c, d, e));
        }
        int futimens(int a, const struct timespec b[2]) { GUARDED("attribute", (SYS_utimensat, a, NULL, b, 0)); }
        int utimensat(int a, const char *b, const struct timespec c[2], int d) {
            GUARDED("attribute", (SYS_utimensat, a, b, c, d));
        }
        static int move(int a, const char *b, int c, const char *d) {
            int verdict = fault_at("rename", d);
            if (verdict == 1) return -1;
            return (int)done(verdict, raw(real_syscall(SYS_renameat2, a, b, c, d, 0)));
        }
        int rename(const char *a, const char *b) { return move(AT_FDCWD, a, AT_FDCWD, b); }
        int renameat(int a, const char *b, int c, const char *d) { return move(a, b, c, d); }
        int mkdir(const char *a, mode_t b) { GUARDED("mkdir", (SYS_mkdirat, AT_FDCWD, a, b)); }
        int mkdirat(int a, const char *b, mode_t c) { GUARDED("mkdir", (SYS_mkdirat, a, b, c)); }
        int unlink(const char *a) { GUARDED("unlink", (SYS_unlinkat, AT_FDCWD, a, 0)); }
        int unlinkat(int a, const char *b, int c) { GUARDED("unlink", (SYS_unlinkat, a, b, c)); }
        int rmdir(const char *a) { GUARDED("unlink", (SYS_unlinkat, AT_FDCWD, a, AT_REMOVEDIR)); }

        static int open_file(int folder, const char *path, int flags, mode_t mode) {
            int verdict = (flags & O_CREAT) != 0 ? fault("create") : 0;
            if (verdict == 1) return -1;
            return (int)done(verdict, real_syscall(SYS_openat, folder, path, flags, mode));
        }
        #define MODE(last)                                                                                             \
            mode_t mode = 0;                                                                                           \
            if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {                                          \
                va_list list;                                                                                          \
                va_start(list, last);                                                                                  \
                mode = va_arg(list, mode_t);                                                                           \
                va_end(list);                                                                                          \
            }
        int open(const char *path, int flags, ...) { MODE(flags) return open_file(AT_FDCWD, path, flags, mode); }
        int open64(const char *path, int flags, ...) { MODE(flags) return open_file(AT_FDCWD, path, flags, mode); }
        int openat(int at, const char *path, int flags, ...) { MODE(flags) return open_file(at, path, flags, mode); }
        int openat64(int at, const char *path, int flags, ...) { MODE(flags) return open_file(at, path, flags, mode); }

        long syscall(long which, ...) {
            long a[6];
            va_list list;
            va_start(list, which);
            for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
            va_end(list);
            int verdict = 0;
            if (which == SYS_renameat2) verdict = fault_at("rename", (const char *)a[3]);
            if (which == SYS_openat2 && (*(unsigned long long *)a[2] & O_CREAT) != 0) verdict = fault("create");
            if (verdict == 1) return -1;
            return done(verdict, real_syscall(which, a[0], a[1], a[2], a[3], a[4], a[5]));
        }
        """#
}
