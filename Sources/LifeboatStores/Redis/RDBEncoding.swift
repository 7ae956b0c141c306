// SPDX-License-Identifier: Apache-2.0

/// How RDB files write lengths, strings and numbers (`rdb.h`: RDB_6BITLEN to RDB_ENC_LZF).
enum RDBEncoding {
    /// A length, big endian in one, two, five or nine bytes; nil: too few bytes.
    static func length(
        _ bytes: UnsafeRawBufferPointer, _ position: Int
    ) throws(RDBError) -> (value: UInt64, size: Int)? {
        let first = bytes[position]
        let there = bytes.count - position
        switch first >> 6 {
        case 0: return (UInt64(first), 1)
        case 1: return there < 2 ? nil : (UInt64(first & 0x3F) << 8 | UInt64(bytes[position + 1]), 2)
        case 2 where first == 0x80 || first == 0x81:
            let size = first == 0x80 ? 4 : 8
            guard there > size else { return nil }
            var value: UInt64 = 0
            for index in 1...size { value = value << 8 | UInt64(bytes[position + index]) }
            return (value, size + 1)
        default: throw .damaged("a length that begins with \(first)")
        }
    }

    /// Bytes before a string's own, and its length as stored; nil: too few bytes.
    static func string(
        _ bytes: UnsafeRawBufferPointer, _ position: Int
    ) throws(RDBError) -> (header: Int, length: UInt64)? {
        let first = bytes[position]
        guard first >> 6 == 3 else {
            guard let length = try length(bytes, position) else { return nil }
            return (length.size, length.value)
        }
        switch first & 0x3F {
        case 0: return (1, 1)
        case 1: return (1, 2)
        case 2: return (1, 4)
        case 3:
            // LZF: the packed length, then the real one.
            guard bytes.count - position > 1, let packed = try length(bytes, position + 1),
                bytes.count - position > 1 + packed.size, let real = try length(bytes, position + 1 + packed.size)
            else { return nil }
            return (1 + packed.size + real.size, packed.value)
        default: throw .damaged("a string of encoding \(first & 0x3F)")
        }
    }

    /// A little-endian number; nil: too few bytes.
    static func number(_ bytes: UnsafeRawBufferPointer, _ position: inout Int, _ size: Int) -> UInt64? {
        guard bytes.count - position >= size else { return nil }
        var value: UInt64 = 0
        for index in (0..<size).reversed() { value = value << 8 | UInt64(bytes[position + index]) }
        position += size
        return value
    }
}
