// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatIO

/// Turns SIGINT, SIGTERM and SIGHUP into a cancellation: one thread takes them, no handler runs anywhere else.
package enum SignalThread {
    private static let caught = [SIGINT, SIGTERM, SIGHUP]

    /// Call it once, on the main thread, before any other thread starts: they inherit the blocked mask.
    ///
    /// The first signal cancels; the work ends in order, services are started again. A second one ends the process at
    /// once with exit code 130; the journal then tells the next run what is left to do. SIGPIPE is ignored: a closed
    /// pipe is an error of the write. A signal that was ignored at the start (nohup) stays ignored.
    package static func install(_ cancellation: Cancellation) throws {
        signal(SIGPIPE, SIG_IGN)
        var mask = sigset_t()
        sigemptyset(&mask)
        for number in caught {
            var current = sigaction()
            sigaction(number, nil, &current)
            if !isIgnored(current) { sigaddset(&mask, number) }
        }
        let status = pthread_sigmask(SIG_BLOCK, &mask, nil)
        guard status == 0 else { throw SystemCallError("block", "signals", errorNumber: status) }
        let waited = mask
        _ = BlockingThread<Void>(name: "signals", stackSize: 256 << 10) {
            while true {
                var set = waited
                var number: Int32 = 0
                guard sigwait(&set, &number) == 0 else { continue }
                if cancellation.isCancelled { _exit(ExitCode.interrupted.rawValue) }
                cancellation.cancel()
            }
        }
    }

    private static func isIgnored(_ action: sigaction) -> Bool {
        // SIG_IGN is the address 1, which Swift cannot compare as a function.
        unsafeBitCast(action.__sigaction_handler.sa_handler, to: UInt.self) == 1
    }
}
