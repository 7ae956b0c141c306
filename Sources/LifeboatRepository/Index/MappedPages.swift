// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatIO
import Synchronization

/// The memory of all mapped indexes of the process, which counts as memory of the process as far as it was touched.
///
/// Whoever reads in a mapping notes it; after so many reads all pages are given back (they stay in the page cache), so
/// that the memory does not grow with the size of the indexes. Thread-safe.
enum MappedPages {
    /// What a search notes: it touches about four pages.
    static let search = 8
    /// What reading one record of a table notes.
    static let record = 1
    /// Reads until pages are given back: 16 MiB of pages when all are searches.
    private static let limit = 8192

    private static let touched = Atomic<Int>(0)
    private static let mappings = Monitor<[UInt: Int]>([:])

    /// `memory` was mapped.
    static func add(_ memory: UnsafeRawBufferPointer) {
        // Nothing is read ahead: a search jumps. What is in the page cache the kernel maps 16 pages at a time anyway.
        madvise(UnsafeMutableRawPointer(mutating: memory.baseAddress), memory.count, MADV_RANDOM)
        mappings.withLock { $0[UInt(bitPattern: memory.baseAddress)] = memory.count }
    }

    /// Unmaps `memory`, which was added.
    static func unmap(_ memory: UnsafeRawBufferPointer) {
        mappings.withLock { mappings in
            mappings[UInt(bitPattern: memory.baseAddress)] = nil
            munmap(UnsafeMutableRawPointer(mutating: memory.baseAddress), memory.count)
        }
    }

    static func note(_ reads: Int) {
        guard touched.add(reads, ordering: .relaxed).newValue >= limit else { return }
        touched.store(0, ordering: .relaxed)
        mappings.withLock { mappings in
            // Mapped as long as the lock is held.
            for (address, count) in mappings {
                madvise(UnsafeMutableRawPointer(bitPattern: address), count, MADV_DONTNEED)
            }
        }
    }
}
