// SPDX-License-Identifier: Apache-2.0

import LifeboatIO

/// Decoded bytes of a frame or chunk; read-only once shared. Its memory goes back to the pool with the last reference.
final class Frame: @unchecked Sendable {
    // Sendable: written by the thread that made it, before anybody else sees it.
    let bytes: UnsafeMutableRawBufferPointer
    private let memory: UnsafeMutableRawBufferPointer
    private let pool: FramePool

    fileprivate init(_ memory: UnsafeMutableRawBufferPointer, count: Int, _ pool: FramePool) {
        self.memory = memory
        bytes = UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
        self.pool = pool
    }

    deinit { pool.giveBack(memory) }
}

/// Memory for decoded frames, the one used last first: it is still in the processor's cache, and the kernel need not
/// clear its pages again. Thread-safe.
final class FramePool: Sendable {
    private struct State: @unchecked Sendable {
        // Sendable: nobody else knows the buffers in here, and the pool guards them.
        var free: [UnsafeMutableRawBufferPointer] = []
        var bytes = 0
    }

    private let state = Monitor(State())

    /// Bytes that lie ready at most.
    private static let limit = 8 << 20
    /// Capacities are multiples of this; less is not kept.
    private static let unit = 64 << 10

    deinit {
        state.withLock { state in
            for memory in state.free { memory.deallocate() }
        }
    }

    func frame(count: Int) -> Frame {
        guard count >= Self.unit else {
            return Frame(.allocate(byteCount: count, alignment: 64), count: count, self)
        }
        let capacity = (count + Self.unit - 1) / Self.unit * Self.unit
        let ready = state.withLock { state -> UnsafeMutableRawBufferPointer? in
            // Not one that is much too large: it may be wanted for more.
            guard let position = state.free.lastIndex(where: { $0.count >= capacity && $0.count <= 2 * capacity })
            else {
                return nil
            }
            state.bytes -= state.free[position].count
            return state.free.remove(at: position)
        }
        return Frame(ready ?? .allocate(byteCount: capacity, alignment: 64), count: count, self)
    }

    fileprivate func giveBack(_ memory: UnsafeMutableRawBufferPointer) {
        guard memory.count >= Self.unit else { return memory.deallocate() }
        let surplus = state.withLock { state -> [UnsafeMutableRawBufferPointer] in
            state.free.append(memory)
            state.bytes += memory.count
            var surplus: [UnsafeMutableRawBufferPointer] = []
            while state.bytes > Self.limit {
                let oldest = state.free.removeFirst()
                state.bytes -= oldest.count
                surplus.append(oldest)
            }
            return surplus
        }
        for memory in surplus { memory.deallocate() }
    }
}
