// SPDX-License-Identifier: Apache-2.0

/// The CRC-64 at the end of RDB files: Jones' polynomial 0xad93d23594c935a9, reflected, no initial or final inversion.
/// Check value of "123456789": e9c6d914c4b8d9ca.
package struct CRC64: Sendable {
    package private(set) var value: UInt64 = 0

    package init() {}

    /// The polynomial with its bits reversed.
    private static let polynomial: UInt64 = 0x95ac_9329_ac4b_c9b5

    /// Eight tables of 256: table k is the effect of a byte k places before the last of eight.
    private static let tables: [UInt64] = {
        var tables = [UInt64](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var crc = UInt64(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? (crc >> 1) ^ polynomial : crc >> 1 }
            tables[byte] = crc
        }
        for table in 1..<8 {
            for byte in 0..<256 {
                let before = tables[(table - 1) * 256 + byte]
                tables[table * 256 + byte] = (before >> 8) ^ tables[Int(before & 0xFF)]
            }
        }
        return tables
    }()

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        var crc = value
        Self.tables.withUnsafeBufferPointer { table in
            var position = 0
            while position + 8 <= bytes.count {
                let word = crc ^ UInt64(littleEndian: start.loadUnaligned(fromByteOffset: position, as: UInt64.self))
                var next = table[7 * 256 + Int(word & 0xFF)] ^ table[6 * 256 + Int(word >> 8 & 0xFF)]
                next ^= table[5 * 256 + Int(word >> 16 & 0xFF)] ^ table[4 * 256 + Int(word >> 24 & 0xFF)]
                next ^= table[3 * 256 + Int(word >> 32 & 0xFF)] ^ table[2 * 256 + Int(word >> 40 & 0xFF)]
                crc = next ^ table[256 + Int(word >> 48 & 0xFF)] ^ table[Int(word >> 56)]
                position += 8
            }
            while position < bytes.count {
                crc = table[Int((crc ^ UInt64(bytes[position])) & 0xFF)] ^ (crc >> 8)
                position += 1
            }
        }
        value = crc
    }
}
