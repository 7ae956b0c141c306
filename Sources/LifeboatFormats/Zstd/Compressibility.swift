// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A cheap look at data before a compression pass is spent on it.
package enum Compressibility {
    /// Pieces looked at, evenly spread; and bytes in each.
    private static let pieceCount = 16
    private static let pieceSize = 512
    private static let repetitionTableBits = 12

    /// Entropy coding has to save more than this share of all bytes, or of one piece, to be worth its time.
    private static let worthwhileSaving = 0.10
    private static let worthwhilePieceSaving = 0.25

    /// True when compressing `source` would, as far as samples tell, save less than it costs: noise (compressed or
    /// encrypted data), and numbers without repetition of which only the exponents are regular (float16 and float32
    /// model weights: 8 % saved at 1 GB/s, and 1.4 GB/s instead of 40 when they are read back).
    ///
    /// Two signs of order are looked for in 16 samples of 512 bytes:
    /// - uneven byte frequencies, over all samples or in any single one, by their entropy;
    /// - four-byte sequences that come back: noise has none, and a compressor saves most by them.
    package static func savesTooLittle(_ source: UnsafeRawBufferPointer) -> Bool {
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
                repetitions += unsafe repeatedSequences(sample, table)
                if repetitions * 128 > pieces * pieceSize { return false }
                unsafe single.update(repeating: 0)
                unsafe count(sample, into: single)
                if unsafe predictedSaving(single, of: pieceSize) > worthwhilePieceSaving { return false }
                for value in 0..<256 { unsafe total[value] &+= single[value] }
            }
            return unsafe predictedSaving(total, of: pieces * pieceSize) <= worthwhileSaving
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
    ///
    /// A small sample looks more regular than its source; the estimate is corrected for that by one half per value
    /// that occurs (Miller and Madow, 1955).
    @inline(__always)
    private static func predictedSaving(
        _ frequencies: UnsafeMutableBufferPointer<UInt32>, of count: Int
    ) -> Double {
        var sum = 0.0
        var values = 0
        unsafe logarithms.withUnsafeBufferPointer { logarithms in
            for value in 0..<256 {
                let frequency = unsafe Int(frequencies[value])
                if frequency > 0 { values &+= 1 }
                unsafe sum += logarithms[frequency]
            }
        }
        let size = Double(count)
        let bits = log2(size) - sum / size + Double(values - 1) / (2 * size * 0.693147)
        return 1 - bits / 8
    }

    /// n · log2(n) for every frequency that can occur.
    private static let logarithms: [Double] = (0...pieceCount * pieceSize).map { number in
        number == 0 ? 0 : Double(number) * log2(Double(number))
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
