// SPDX-License-Identifier: Apache-2.0

/// A cheap look at data before a compression pass is spent on it.
package enum Compressibility {
    /// Pieces looked at, evenly spread; and bytes in each.
    private static let pieceCount = 16
    private static let pieceSize = 512
    private static let repetitionTableBits = 12

    /// True when `source` is, as far as samples tell, noise: already compressed, encrypted or random. Such data costs
    /// only this test. Conservative: when in doubt false, which costs a compression pass and no space.
    ///
    /// Two signs of order are looked for in 16 samples of 512 bytes:
    /// - uneven byte frequencies, in any single sample or over all. Pearson's chi-square X² of N bytes predicts what
    ///   entropy coding saves: (X² − 255) / (2 N ln 2) bits a byte. Looked for are 1 % over all samples (libzstd
    ///   itself drops gains below 1.6 %) and 10 % in a single one;
    /// - four-byte sequences that come back: noise has none.
    package static func looksIncompressible(_ source: UnsafeRawBufferPointer) -> Bool {
        // Too little for statistics, and cheap to compress anyway.
        guard source.count >= 2 * pieceSize else { return false }
        let pieces = min(pieceCount, source.count / pieceSize)
        let stride = pieces > 1 ? (source.count - pieceSize) / (pieces - 1) : 0
        return unsafe withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 512 + (1 << repetitionTableBits)) {
            scratch in
            unsafe scratch.initialize(repeating: 0)
            let total = unsafe UnsafeMutableBufferPointer(rebasing: scratch[0..<256])
            let single = unsafe UnsafeMutableBufferPointer(rebasing: scratch[256..<512])
            let table = unsafe UnsafeMutableBufferPointer(rebasing: scratch[512...])
            var repetitions = 0
            for piece in 0..<pieces {
                let start = piece * stride
                let sample = unsafe UnsafeRawBufferPointer(rebasing: source[start..<start + pieceSize])
                unsafe single.update(repeating: 0)
                unsafe count(sample, into: single)
                if unsafe predictedSaving(single, of: pieceSize) > 0.1 { return false }
                for value in 0..<256 { unsafe total[value] &+= single[value] }
                repetitions += unsafe repeatedSequences(sample, table)
            }
            if unsafe predictedSaving(total, of: pieces * pieceSize) > 0.01 { return false }
            return repetitions * 128 <= pieces * pieceSize
        }
    }

    @inline(__always)
    private static func count(_ sample: UnsafeRawBufferPointer, into frequencies: UnsafeMutableBufferPointer<UInt32>) {
        var offset = 0
        while offset < pieceSize {
            var word = unsafe sample.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            for _ in 0..<8 {
                unsafe frequencies[Int(word & 0xFF)] &+= 1
                word >>= 8
            }
            offset &+= 8
        }
    }

    /// The share of `count` bytes that entropy coding saves when bytes occur as often as `frequencies` says.
    @inline(__always)
    private static func predictedSaving(
        _ frequencies: UnsafeMutableBufferPointer<UInt32>, of count: Int
    ) -> Double {
        var squares: UInt64 = 0
        for value in 0..<256 {
            let frequency = unsafe UInt64(frequencies[value])
            squares &+= frequency &* frequency
        }
        let chiSquare = Double(squares) * 256 / Double(count) - Double(count)
        return (chiSquare - 255) / (2 * Double(count) * 0.693147) / 8
    }

    /// How many four-byte sequences of the sample were seen before, in this sample or an earlier one.
    @inline(__always)
    private static func repeatedSequences(
        _ sample: UnsafeRawBufferPointer, _ table: UnsafeMutableBufferPointer<UInt32>
    ) -> Int {
        var repeated = 0
        for offset in 0...pieceSize - 4 {
            let sequence = unsafe sample.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
            let slot = Int(truncatingIfNeeded: (sequence &* 2_654_435_761) >> UInt32(32 - repetitionTableBits))
            if unsafe table[slot] == sequence { repeated &+= 1 }
            unsafe table[slot] = sequence
        }
        return repeated
    }
}
