// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// A flag that ends long work early: set by the signal handler's thread, read by every stage of the data path.
///
/// Thread-safe. Blocking stages poll it between units of work (a chunk, a file, a probe).
package final class Cancellation: Sendable {
    private let flag = Atomic<Bool>(false)
    private let parent: Cancellation?

    package init() { parent = nil }

    /// Is cancelled along with `parent`, and can be without it.
    package init(under parent: Cancellation) { self.parent = parent }

    package func cancel() { flag.store(true, ordering: .releasing) }

    package var isCancelled: Bool { flag.load(ordering: .acquiring) || parent?.isCancelled == true }

    /// Throws `LifeboatError.interrupted` once cancelled.
    package func check() throws(LifeboatError) {
        if isCancelled { throw .interrupted }
    }
}
