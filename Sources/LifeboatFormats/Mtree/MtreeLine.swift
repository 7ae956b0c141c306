// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// A line under construction: measured first, every append bounds-checked.
typealias MtreeLine = OutputSpan<UInt8>

/// The pieces mtree lines are made of.
extension OutputSpan where Element == UInt8 {
    mutating func text(_ text: StaticString) {
        let length = text.utf8CodeUnitCount
        precondition(length <= freeCapacity, "the line is longer than measured")
        unsafe withUnsafeMutableBufferPointer { bytes, count in
            // Within capacity, as checked above.
            unsafe (bytes.baseAddress! + count).update(from: text.utf8Start, count: length)
            count += length
        }
    }

    /// `.` or `./a/b`.
    mutating func path(_ path: [UInt8]) {
        append(UInt8(ascii: "."))
        if path.isEmpty { return }
        append(UInt8(ascii: "/"))
        escaped(path)
    }

    /// vis(3) octal escapes for all but plain printable ASCII. Escaped too: the backslash, `#` and the glob characters,
    /// as every mtree does, `=` and the comma, which have a meaning in our own keywords.
    mutating func escaped(_ bytes: [UInt8]) {
        for byte in bytes {
            if isPlain(byte) {
                append(byte)
            } else {
                append(UInt8(ascii: "\\"))
                append(48 &+ byte >> 6)
                append(48 &+ (byte >> 3 & 7))
                append(48 &+ (byte & 7))
            }
        }
    }

    mutating func decimal(_ value: UInt64) {
        if value < 10 { return append(48 &+ UInt8(truncatingIfNeeded: value)) }
        var divisor: UInt64 = 10
        while value / divisor >= 10 { divisor &*= 10 }
        var rest = value
        while divisor > 0 {
            append(48 &+ UInt8(truncatingIfNeeded: rest / divisor))
            rest %= divisor
            divisor /= 10
        }
    }

    /// Lower-case hexadecimal without leading zeros.
    mutating func hexadecimal(_ value: UInt64) {
        var shift = max(0, (63 &- value.leadingZeroBitCount) / 4 &* 4)
        while shift >= 0 {
            append(hexadecimalDigit(UInt8(truncatingIfNeeded: value >> UInt64(shift) & 0xF)))
            shift &-= 4
        }
    }

    /// Four octal digits with a leading zero when they fit.
    mutating func mode(_ mode: UInt16) {
        append(48 &+ UInt8(mode >> 9 & 7))
        append(48 &+ UInt8(mode >> 6 & 7))
        append(48 &+ UInt8(mode >> 3 & 7))
        append(48 &+ UInt8(mode & 7))
    }

    /// Seconds, a point and nine digits: readers disagree whether `.5` is 5 ns or half a second.
    mutating func time(_ time: Timestamp) {
        if time.seconds < 0 { append(UInt8(ascii: "-")) }
        decimal(time.seconds.magnitude)
        append(UInt8(ascii: "."))
        var divisor: UInt32 = 100_000_000
        var rest = UInt32(clamping: time.nanoseconds)
        while divisor > 0 {
            append(48 &+ UInt8(truncatingIfNeeded: rest / divisor % 10))
            rest %= divisor
            divisor /= 10
        }
    }

    mutating func digest(_ digest: Digest) {
        precondition(freeCapacity >= 64, "the line is longer than measured")
        unsafe withUnsafeMutableBufferPointer { bytes, count in
            // Within capacity, as checked above.
            let place = unsafe UnsafeMutableRawPointer(bytes.baseAddress! + count)
            for index in 0..<4 {
                let word = digest.bigEndianWord(index)
                unsafe place.storeBytes(
                    of: hexadecimalDigits(UInt32(truncatingIfNeeded: word >> 32)), toByteOffset: 16 &* index,
                    as: UInt64.self)
                unsafe place.storeBytes(
                    of: hexadecimalDigits(UInt32(truncatingIfNeeded: word)), toByteOffset: 16 &* index &+ 8,
                    as: UInt64.self)
            }
            count += 64
        }
    }

    mutating func base64(_ bytes: [UInt8]) {
        var index = 0
        while index < bytes.count {
            let first = bytes[index]
            let second = index + 1 < bytes.count ? bytes[index + 1] : 0
            let third = index + 2 < bytes.count ? bytes[index + 2] : 0
            append(base64Digit(first >> 2))
            append(base64Digit((first & 3) << 4 | second >> 4))
            append(index + 1 < bytes.count ? base64Digit((second & 15) << 2 | third >> 6) : UInt8(ascii: "="))
            append(index + 2 < bytes.count ? base64Digit(third & 63) : UInt8(ascii: "="))
            index += 3
        }
    }
}

@inline(__always)
private func isPlain(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x21...0x7E:
        switch byte {
        case UInt8(ascii: "\\"), UInt8(ascii: "#"), UInt8(ascii: "*"), UInt8(ascii: "?"), UInt8(ascii: "["),
            UInt8(ascii: "="), UInt8(ascii: ","):
            false
        default: true
        }
    default: false
    }
}

@inline(__always)
private func hexadecimalDigit(_ nibble: UInt8) -> UInt8 {
    nibble < 10 ? nibble &+ 48 : nibble &+ 87
}

/// Eight lower-case digits, as they lie in memory: four bytes are spread over eight nibbles, all changed to ASCII at
/// once.
@inline(__always)
private func hexadecimalDigits(_ value: UInt32) -> UInt64 {
    var spread = UInt64(value)
    spread = (spread | spread << 16) & 0x0000_FFFF_0000_FFFF
    spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF
    spread = (spread | spread << 4) & 0x0F0F_0F0F_0F0F_0F0F
    let letters = (spread &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
    return (spread &+ 0x3030_3030_3030_3030 &+ letters &* 39).bigEndian
}

@inline(__always)
private func base64Digit(_ value: UInt8) -> UInt8 {
    switch value {
    case 0..<26: value &+ 65
    case 26..<52: value &+ 71
    case 52..<62: value &- 4
    case 62: UInt8(ascii: "+")
    default: UInt8(ascii: "/")
    }
}
