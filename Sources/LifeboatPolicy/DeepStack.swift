// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A stack for recursion whose depth the input decides.
///
/// The YAML library recurses once a level and takes up to 1000 levels (libyaml's MAX_NESTING_LEVEL); measured at 1.5 KiB
/// a level, that overruns the 1 MiB of lifeboat's worker threads, and a stack overflow cannot be caught.
enum DeepStack {
    private static let byteCount = 16 << 20

    private final class Task {
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
    }

    /// Runs `body` on a thread of its own and waits for it; nil when there can be no such thread.
    static func run<Result>(_ body: () -> Result) -> Result? {
        var result: Result?
        let started = withoutActuallyEscaping(body) { body in
            start(Task { result = body() })
        }
        return started ? result : nil
    }

    /// Returns after the thread has ended.
    private static func start(_ task: Task) -> Bool {
        var attributes = pthread_attr_t()
        guard pthread_attr_init(&attributes) == 0 else { return false }
        defer { pthread_attr_destroy(&attributes) }
        guard pthread_attr_setstacksize(&attributes, byteCount) == 0 else { return false }
        // Signals are for the thread that waits for them.
        var all = sigset_t()
        var previous = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &previous)
        defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
        let reference = Unmanaged.passRetained(task)
        // The one release: after the thread has ended, or when there is none.
        defer { reference.release() }
        var thread = pthread_t()
        let status = pthread_create(
            &thread, &attributes,
            { argument in
                // Never nil: it is what pthread_create was given.
                Unmanaged<Task>.fromOpaque(argument!).takeUnretainedValue().body()
                return nil
            }, reference.toOpaque())
        guard status == 0 else { return false }
        return pthread_join(thread, nil) == 0
    }
}
