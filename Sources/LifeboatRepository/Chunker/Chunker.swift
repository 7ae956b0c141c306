// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// Cuts contents into chunks where the bytes themselves say so, so that an insertion changes only the chunks near it.
///
/// FastCDC (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems",
/// 2020): a gear hash over a sliding window, no look at bytes below the minimum, and normalized lengths. Unlike there,
/// the window is always full, which makes each decision a pure function of 64 bytes and the length so far. Exactly:
///
/// *Table.* `G[b]`, for b in 0...255, is the first 8 bytes, as a little-endian number, of the BLAKE3 of 53 bytes: the
/// ASCII text `lifeboat gear table`, a zero byte, the 32 bytes of the seed, and the byte b.
///
/// *Hash.* `H(n)`, for a length n of at least 64, is the sum of `G[byte(n - 1 - i)] * 2^i` over i in 0...63, modulo
/// 2^64: `byte(0)` is the first byte of the chunk, `byte(n - 1)` the last one if it is cut at length n. Computed one
/// byte a step, that is `H(n + 1) = 2 * H(n) + G[byte(n)]`.
///
/// *Masks.* With `a` the binary logarithm of the average and `l` the normalization level, the strict mask has a + l
/// bits set and the loose one a - l, in both bit 62 and those directly below. (High bits depend on the most bytes. Bit
/// 63 stays free, so that the hash may be compared shifted by one.)
///
/// *Switch.* `average - average / 2^l`, or the minimum if that is more. Behind it the loose mask needs `average / 2^l`
/// further bytes in the mean, so lengths gather around the average.
///
/// *Cut.* The length of a chunk is the smallest n with minimum <= n < maximum and `H(n) & mask == 0`, where mask is the
/// strict one for n < switch and the loose one from there on. When there is no such n, it is the maximum, or all that
/// is left of the content when that is less.
package struct Chunker: Sendable {
    /// How far the chunk in progress was looked at: begin with a new one for each chunk, and keep it while bytes are
    /// appended to the same chunk. The hash is not kept, it is had from the last 64 bytes.
    package struct Scan: Sendable {
        /// Lengths up to this one are known not to be cuts.
        fileprivate var ruledOut = 0
        package init() {}
    }

    private let minimum, switchPoint, maximum: Int
    private let strictMask, looseMask: UInt64
    /// The table, then the table with every number doubled.
    private let gear: [UInt64]

    /// The parameters must have passed `validate`; a trap otherwise.
    package init(_ parameters: ChunkerParameters) {
        precondition((try? parameters.validate()) != nil, "chunker parameters are validated before use")
        minimum = parameters.minimum
        maximum = parameters.maximum
        let level = parameters.normalization
        switchPoint = max(minimum, parameters.average - parameters.average >> level)
        let bits = parameters.average.trailingZeroBitCount
        strictMask = Self.mask(bits: bits + level)
        looseMask = Self.mask(bits: bits - level)
        let table = Self.table(seed: parameters.gearSeed)
        gear = table + table.map { $0 &<< 1 }
    }

    /// The length of the chunk at the start of `bytes`, which begin where a chunk begins.
    ///
    /// - Parameter atEnd: whether the content ends with `bytes`.
    /// - Returns: nil when more bytes are needed to tell: never when `atEnd` is set or `bytes` hold the maximum, unless
    ///   they are empty.
    package func cut(_ bytes: UnsafeRawBufferPointer, atEnd: Bool) -> Int? {
        var scan = Scan()
        return cut(bytes, atEnd: atEnd, resuming: &scan)
    }

    /// The same, without another look at what the calls before with the same `scan` ruled out. After nil, call again
    /// with the same bytes and more behind them (they may have moved) and the same `scan`; after a cut, use a new one.
    package func cut(_ bytes: UnsafeRawBufferPointer, atEnd: Bool, resuming scan: inout Scan) -> Int? {
        let available = min(bytes.count, maximum)
        guard let base = bytes.baseAddress, available > 0 else { return nil }
        let first = max(minimum, scan.ruledOut + 1)
        let last = min(available, maximum - 1)
        if first <= last {
            let base = base.assumingMemoryBound(to: UInt8.self)
            let found = gear.withUnsafeBufferPointer { gear -> Int? in
                guard let gear = gear.baseAddress else { return nil }
                let strictEnd = min(switchPoint, last + 1)
                return Self.firstMatch(base, from: first, to: strictEnd, mask: strictMask, gear: gear)
                    ?? Self.firstMatch(base, from: max(first, strictEnd), to: last + 1, mask: looseMask, gear: gear)
            }
            if let found { return found }
            scan.ruledOut = last
        }
        return atEnd || available == maximum ? available : nil
    }

    /// The smallest length in `start ..< end` whose hash has none of the bits of `mask`. `start` is at least 64, and
    /// there are at least `end - 1` bytes at `base`.
    private static func firstMatch(
        _ base: UnsafePointer<UInt8>, from start: Int, to end: Int, mask: UInt64, gear: UnsafePointer<UInt64>
    ) -> Int? {
        var length = start
        while end - length >= 2 * span {
            let clean = cleanSteps(base, from: length, mask: mask, gear: gear)
            if clean < span {
                let middle = length + span
                return firstMatchSerially(base, from: length + clean, to: middle, mask: mask, gear: gear)
                    ?? firstMatchSerially(base, from: middle + clean, to: middle + span, mask: mask, gear: gear)
            }
            length += 2 * span
        }
        return firstMatchSerially(base, from: length, to: end, mask: mask, gear: gear)
    }

    /// Lengths in each of the two runs that are hashed at the same time.
    private static let span = 4096

    /// Looks at the lengths `start + i` and `start + span + i` for i = 0, 1, 2 … and returns the first even i at which
    /// one of them or of the two lengths that follow them is a match, or `span`.
    ///
    /// Each hash waits for the one before it; two runs side by side keep the processor busy meanwhile. Two bytes a
    /// step: the hash after the first one is only needed doubled, so it is made and compared doubled, which saves a
    /// shift.
    private static func cleanSteps(
        _ base: UnsafePointer<UInt8>, from start: Int, mask: UInt64, gear: UnsafePointer<UInt64>
    ) -> Int {
        let doubled = gear + 256
        let doubledMask = mask &<< 1
        let left = base + (start - 1)
        let right = left + span
        var leftHash = window(left, gear)
        var rightHash = window(right, gear)
        var step = 0
        while step < span {
            leftHash = leftHash &<< 2 &+ doubled[Int(left[step])]
            rightHash = rightHash &<< 2 &+ doubled[Int(right[step])]
            if leftHash & doubledMask == 0 || rightHash & doubledMask == 0 { return step }
            leftHash = leftHash &+ gear[Int(left[step &+ 1])]
            rightHash = rightHash &+ gear[Int(right[step &+ 1])]
            if leftHash & mask == 0 || rightHash & mask == 0 { return step }
            leftHash = leftHash &<< 2 &+ doubled[Int(left[step &+ 2])]
            rightHash = rightHash &<< 2 &+ doubled[Int(right[step &+ 2])]
            if leftHash & doubledMask == 0 || rightHash & doubledMask == 0 { return step &+ 2 }
            leftHash = leftHash &+ gear[Int(left[step &+ 3])]
            rightHash = rightHash &+ gear[Int(right[step &+ 3])]
            if leftHash & mask == 0 || rightHash & mask == 0 { return step &+ 2 }
            step = step &+ 4
        }
        return span
    }

    /// The hash of the 63 bytes before `end`: one byte more and the window is full.
    private static func window(_ end: UnsafePointer<UInt8>, _ gear: UnsafePointer<UInt64>) -> UInt64 {
        var hash: UInt64 = 0
        for offset in -63..<0 { hash = hash &<< 1 &+ gear[Int(end[offset])] }
        return hash
    }

    private static func firstMatchSerially(
        _ base: UnsafePointer<UInt8>, from start: Int, to end: Int, mask: UInt64, gear: UnsafePointer<UInt64>
    ) -> Int? {
        guard start < end else { return nil }
        var hash = window(base + (start - 1), gear)
        for length in start..<end {
            hash = hash &<< 1 &+ gear[Int(base[length - 1])]
            if hash & mask == 0 { return length }
        }
        return nil
    }

    private static func mask(bits: Int) -> UInt64 { (1 << UInt64(bits) - 1) << UInt64(63 - bits) }

    private static func table(seed: Digest) -> [UInt64] {
        let prefix = Array("lifeboat gear table\0".utf8) + seed.bytes
        return (0...UInt8.max).map { byte in BLAKE3.hash(prefix + [byte]).prefix.byteSwapped }
    }
}
