// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// What a detached thread runs.
private final class ThreadStart: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
        self.name = name
        self.body = body
    }
}

/// Starts a detached thread with all signals blocked (one thread of the process takes them); errno when it cannot.
private func startDetachedThread(stackSize: Int, _ start: ThreadStart) -> Int32 {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setstacksize(&attributes, stackSize)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    var all = sigset_t()
    var previous = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &previous)
    defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
    let reference = Unmanaged.passRetained(start)
    var thread = pthread_t()
    let status = pthread_create(
        &thread, &attributes,
        { argument in
            // The thread's own reference, released here and nowhere else once it runs.
            let start = Unmanaged<ThreadStart>.fromOpaque(argument!).takeRetainedValue()
            lifeboat_set_thread_name(start.name)
            start.body()
            return nil
        }, reference.toOpaque())
    if status != 0 { reference.release() }
    return status
}

/// A dedicated thread for blocking or long work.
package final class BlockingThread<Success: Sendable>: Sendable {
    private let outcome: Monitor<Result<Success, any Error>?>

    /// Starts `body` at once. `name` shows in `ps -L` (15 bytes).
    package init(name: String, stackSize: Int = 1 << 20, _ body: @escaping @Sendable () throws -> Success) {
        let outcome = Monitor<Result<Success, any Error>?>(nil)
        self.outcome = outcome
        let start = ThreadStart(name: name) {
            let result: Result<Success, any Error>
            do { result = .success(try body()) } catch { result = .failure(error) }
            outcome.update { (slot: inout Result<Success, any Error>?) in slot = result }
        }
        let status = startDetachedThread(stackSize: stackSize, start)
        guard status != 0 else { return }
        let failure = SystemCallError("start thread", name, errorNumber: status)
        outcome.update { (slot: inout Result<Success, any Error>?) in slot = .failure(failure) }
    }

    /// Blocks until the thread has ended; throws what its body threw.
    package func join() throws -> Success {
        try outcome.wait { (slot: inout Result<Success, any Error>?) -> Result<Success, any Error>? in slot }.get()
    }
}

/// Runs the bodies on a thread each and waits for all; throws the first failure, after `onFailure` was called once so
/// that the others can be told to stop.
package func runConcurrently(
    _ bodies: [(name: String, body: @Sendable () throws -> Void)],
    onFailure: @escaping @Sendable () -> Void = {}
) throws {
    let failures = Monitor<[any Error]>([])
    let threads = bodies.map { task in
        BlockingThread<Void>(name: task.name) {
            do {
                try task.body()
            } catch {
                let isFirst = failures.update { (all: inout [any Error]) -> Bool in
                    all.append(error)
                    return all.count == 1
                }
                if isFirst { onFailure() }
            }
        }
    }
    for thread in threads { try thread.join() }
    if let failure = failures.withLock({ (all: inout [any Error]) -> (any Error)? in all.first }) { throw failure }
}
