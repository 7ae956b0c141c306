// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// Which chunks the repository has or will have by the end of this backup. Thread-safe.
final class KnownChunks: Sendable {
    private struct State: @unchecked Sendable {
        // Sendable: the monitor guards the set, and nobody else has it.
        let claimed: DigestSet
        var again: Set<Digest> = []
        var againBytes: UInt64 = 0
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

    /// A chunk of `bytes` bytes that was stored before is to be stored in another way too: true when nobody else does.
    func claimAgain(_ id: Digest, bytes: Int) -> Bool {
        monitor.withLock { state in
            guard state.again.insert(id).inserted else { return false }
            state.againBytes += UInt64(bytes)
            return true
        }
    }

    /// Chunks that were claimed so, and their bytes.
    var again: (chunks: UInt64, bytes: UInt64) {
        monitor.withLock { (UInt64($0.again.count), $0.againBytes) }
    }
}
