// SPDX-License-Identifier: Apache-2.0

extension UnsafeRawBufferPointer {
    /// Offset of the first occurrence of `piece`; nil when there is none.
    func firstRange(of piece: UnsafeRawBufferPointer) -> Int? {
        guard piece.count >= 8, count >= piece.count else { return nil }
        // Comparing eight bytes at a time rules out nearly every offset.
        let head = piece.loadUnaligned(as: UInt64.self)
        for offset in 0...(count - piece.count) where loadUnaligned(fromByteOffset: offset, as: UInt64.self) == head {
            if self[offset..<offset + piece.count].elementsEqual(piece) { return offset }
        }
        return nil
    }
}
