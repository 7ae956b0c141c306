// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// Which chunks the repository has or will have by the end of this backup. Thread-safe.
final class KnownChunks: Sendable {
    private struct State {
        var stored: IndexSet
        var claimed: Set<Digest> = []
    }

    private let monitor: Monitor<State>

    init(_ stored: IndexSet) { monitor = Monitor(State(stored: stored)) }

    /// True when the chunk is new: the caller now has to store it, and nobody else will.
    func claim(_ id: Digest) -> Bool {
        monitor.withLock { state in
            if state.stored.contains(id) { return false }
            return state.claimed.insert(id).inserted
        }
    }

    /// The chunks of `index` are stored: they no longer need memory here.
    func absorb(_ index: MappedIndex) {
        monitor.withLock { state in
            for position in 0..<index.chunkCount { state.claimed.remove(index.chunkID(position)) }
            state.stored.add(index)
        }
    }
}
