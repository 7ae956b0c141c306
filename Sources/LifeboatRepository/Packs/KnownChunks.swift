// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// Which chunks the repository has or will have by the end of this backup. Thread-safe.
final class KnownChunks: Sendable {
    private struct State: @unchecked Sendable {
        // Sendable: the monitor guards the set, and nobody else has it.
        let claimed: DigestSet
    }

    /// The indexes from before this backup.
    private let stored: IndexSet
    private let monitor: Monitor<State>

    /// `folder`: a local folder for what is too large for memory.
    init(_ stored: IndexSet, folder: String) {
        self.stored = stored
        monitor = Monitor(State(claimed: DigestSet(folder: folder)))
    }

    /// True when the chunk is new: the caller now has to store it, and nobody else will. Throws when the chunks claimed
    /// so far cannot be read back.
    func claim(_ id: Digest) throws -> Bool {
        if stored.contains(id) { return false }
        return try monitor.withLock { try $0.claimed.insert(id) }
    }
}
