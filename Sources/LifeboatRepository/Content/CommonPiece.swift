// SPDX-License-Identifier: Apache-2.0

/// Finds pieces that two runs of bytes have in common.
enum CommonPiece {
    /// As many bytes as a cut point depends on.
    private static let pieceSize = 64

    /// Offsets of a piece of the first half of `base` in both.
    static func beginning(
        of base: UnsafeRawBufferPointer, in data: UnsafeRawBufferPointer
    ) -> (data: Int, base: Int)? {
        guard base.count >= 8 * pieceSize else { return nil }
        for eighth in 0..<4 {
            let offset = base.count / 8 * eighth
            let piece = UnsafeRawBufferPointer(rebasing: base[offset..<offset + pieceSize])
            guard piece.contains(where: { $0 != piece[0] }), let found = data.firstRange(of: piece) else { continue }
            return (found, offset)
        }
        return nil
    }

    /// Offsets right behind a piece that both hold.
    static func end(
        _ data: UnsafeRawBufferPointer, _ base: UnsafeRawBufferPointer
    ) -> (data: Int, base: Int)? {
        let size = pieceSize
        guard data.count >= 2 * size, base.count >= 2 * size else { return nil }
        // A cut point is a matter of the 64 bytes before it: mostly both end, or begin, with the same one.
        if data[(data.count - size)...].elementsEqual(base[(base.count - size)...]) { return (data.count, base.count) }
        for eighth in (1...8).reversed() {
            let end = data.count / 8 * eighth
            let piece = UnsafeRawBufferPointer(rebasing: data[(end - size)..<end])
            // Runs of one byte are everywhere.
            guard piece.contains(where: { $0 != piece[0] }), let found = base.firstRange(of: piece) else { continue }
            return (end, found + size)
        }
        return nil
    }
}
