// SPDX-License-Identifier: Apache-2.0

/// A stream of bytes that can be read once, front to back. Used on one thread at a time; reads block.
package protocol ByteSource: AnyObject {
    /// The next bytes, up to `buffer.count`; 0 only at the end, and only when every check at the end passed
    /// (exit status of a child, a trailer, a declared length). Every other outcome throws.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int
    /// Gives up early: ends a child, closes a connection. Idempotent; also called after the end.
    func close()
}
