// SPDX-License-Identifier: Apache-2.0

/// A buffer that moves over the bytes of an object, front to back, so that no whole object need be in memory. Used on
/// one thread.
final class StoredWindow {
    /// Bytes that are read at once beyond what is needed next.
    static let readAhead = 4 << 20

    private let memory: UnsafeMutableRawBufferPointer
    /// Where in the object the window begins, and how many of its bytes are valid.
    private var start: UInt64 = 0
    private var count = 0

    /// `capacity` in bytes: the most that is ever needed in one piece, and `readAhead`.
    init(capacity: Int) { memory = .allocate(byteCount: capacity, alignment: 64) }

    deinit { memory.deallocate() }

    /// Begins another object.
    func begin() {
        start = 0
        count = 0
    }

    /// The bytes from `offset`, which is inside the window or right behind it: at least `needed`, or all up to `size`,
    /// the end of the object. Valid until the next call.
    func bytes(
        from offset: UInt64, atLeast needed: Int, of size: UInt64,
        read: (_ offset: UInt64, _ target: UnsafeMutableRawBufferPointer) throws -> Void
    ) throws -> UnsafeRawBufferPointer {
        let passed = Int(offset - start)
        let kept = count - passed
        let left = size - offset
        if kept < needed, UInt64(kept) < left {
            memory.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[passed..<count]))
            start = offset
            count = kept
            let end = Int(min(UInt64(memory.count), left))
            let target = UnsafeMutableRawBufferPointer(rebasing: memory[kept..<end])
            try read(offset + UInt64(kept), target)
            count = end
            return UnsafeRawBufferPointer(rebasing: memory[..<end])
        }
        return UnsafeRawBufferPointer(rebasing: memory[passed..<count])
    }
}
