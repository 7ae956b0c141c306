// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// Whether the local cache of a repository can be written. Shared by all who write there, thread-safe.
final class CacheHealth: Sendable {
    private let first = Monitor<LifeboatError?>(nil)

    /// Notes that something could not be written. The first reason is kept.
    func report(_ error: any Error) {
        let problem = LifeboatError.converting(
            error, "the local cache cannot be written; it goes on without",
            hint:
                "Make space there, or name another folder with --cache DIR or the environment variable LIFEBOAT_CACHE.")
        first.withLock { if $0 == nil { $0 = problem } }
    }

    /// The first reason; nil when everything was written.
    var problem: LifeboatError? { first.withLock { $0 } }
}
