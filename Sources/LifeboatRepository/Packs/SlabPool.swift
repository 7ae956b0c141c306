// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// A fixed number of large page-aligned buffers that data is read into. Taking one blocks while all are in use: this
/// is what bounds the memory of a backup.
final class SlabPool: Sendable {
    private struct State {
        var free: [UnsafeMutableRawBufferPointer] = []
        var created = 0
        var abandoned = false
    }

    private let monitor = Monitor(State())
    private let count: Int
    let slabSize: Int

    init(count: Int, slabSize: Int) {
        self.count = count
        self.slabSize = slabSize
    }

    deinit {
        // Every slab holds the pool: all are back here.
        monitor.withLock { state in
            for memory in state.free { munmap(memory.baseAddress, memory.count) }
        }
    }

    /// Blocks until a slab is free. Throws once the pool was abandoned.
    func take() throws -> Slab {
        let memory = try monitor.wait { state throws(LifeboatError) -> UnsafeMutableRawBufferPointer? in
            if state.abandoned { throw LifeboatError.interrupted }
            if let memory = state.free.popLast() { return memory }
            guard state.created < count else { return nil }
            guard
                let address = mmap(nil, slabSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                address != MAP_FAILED
            else { throw SystemCallError("allocate", "a buffer of \(slabSize) bytes").lifeboatError }
            state.created += 1
            return UnsafeMutableRawBufferPointer(start: address, count: slabSize)
        }
        return Slab(memory, self)
    }

    /// Wakes everyone who waits for a slab with an error: the way out after a failure elsewhere.
    func abandon() { monitor.update { $0.abandoned = true } }

    fileprivate func giveBack(_ memory: UnsafeMutableRawBufferPointer) {
        monitor.update { $0.free.append(memory) }
    }
}

/// A buffer of the pool; goes back by itself when the last reference is dropped.
///
/// Bytes are written by the one thread that took it, before it hands ranges of them to others; a range handed over is
/// not written again.
final class Slab: @unchecked Sendable {
    // Sendable: what was handed to others is not written again.
    let memory: UnsafeMutableRawBufferPointer
    private let pool: SlabPool

    fileprivate init(_ memory: UnsafeMutableRawBufferPointer, _ pool: SlabPool) {
        self.memory = memory
        self.pool = pool
    }

    deinit { pool.giveBack(memory) }
}
