// SPDX-License-Identifier: Apache-2.0

/// How the payload of an age file is laid out: after a nonce of 16 bytes, blocks of 64 KiB, each with a tag. Only the
/// last may be shorter, and it is empty only when there is no other.
enum AgePayload {
    static let nonceSize = 16
    static let blockSize = 64 << 10
    static let tagSize = ChaCha20Poly1305.tagSize
    static let sealedBlockSize = blockSize + tagSize

    /// Plain and sealed bytes of a whole payload without its nonce.
    struct Layout: Equatable {
        var plainSize: UInt64
        var sealedSize: UInt64
        /// At least 1.
        var blockCount: UInt64

        /// The layout of so many sealed bytes; nil when no payload has that size.
        init?(sealedSize: UInt64) {
            let block = UInt64(AgePayload.sealedBlockSize)
            let tag = UInt64(AgePayload.tagSize)
            guard sealedSize >= tag else { return nil }
            blockCount = sealedSize / block + (sealedSize % block == 0 ? 0 : 1)
            let last = sealedSize - (blockCount - 1) * block
            guard last > tag || blockCount == 1 else { return nil }
            self.sealedSize = sealedSize
            plainSize = sealedSize - blockCount * tag
        }

        func isLast(_ block: UInt64) -> Bool { block + 1 == blockCount }

        /// Plain bytes of a block.
        func plainRange(of block: UInt64) -> Range<UInt64> {
            let start = block * UInt64(AgePayload.blockSize)
            return start..<min(start + UInt64(AgePayload.blockSize), plainSize)
        }

        /// The blocks that hold `range`, which lies within the plain size. The block of an empty payload holds its
        /// only range, so that reading it checks the tag; other empty ranges need none.
        func blocks(of range: Range<UInt64>) -> Range<UInt64> {
            if plainSize == 0 { return 0..<1 }
            let first = range.lowerBound / UInt64(AgePayload.blockSize)
            if range.isEmpty { return first..<first }
            return first..<(range.upperBound - 1) / UInt64(AgePayload.blockSize) + 1
        }

        /// Where sealed blocks lie, from the first block on.
        func sealedRange(of blocks: Range<UInt64>) -> Range<UInt64> {
            let block = UInt64(AgePayload.sealedBlockSize)
            return blocks.lowerBound
                * block..<max(
                    blocks.lowerBound * block, min(blocks.upperBound * block, sealedSize))
        }
    }

    /// Sealed bytes of `plainSize` plain ones, without the nonce.
    static func sealedSize(_ plainSize: Int) -> Int {
        plainSize + max(1, (plainSize + blockSize - 1) / blockSize) * tagSize
    }
}
