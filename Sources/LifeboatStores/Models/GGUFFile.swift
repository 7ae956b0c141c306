// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// The header of a GGUF file (ggml's specification, versions 2 and 3): where its tensors lie, so that a file that was cut
/// is known. The format has no checksum.
package enum GGUFFile {
    /// Elements and bytes of a block, by ggml type. Of a type that is not here only the place is checked.
    private static let blocks: [UInt32: (elements: UInt64, bytes: UInt64)] = [
        0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
        10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
        16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
        23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
        34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
    ]
    private static let longestName: UInt64 = 1 << 16
    private static let mostTensors: UInt64 = 1 << 22
    private static let mostKeys: UInt64 = 1 << 20
    private static let mostDimensions: UInt64 = 8
    private static let deepestArray = 4

    /// Throws what is wrong with it. Returns in how many files its model lies (`split.count`).
    @discardableResult
    package static func check(_ path: String) throws -> Int {
        var reader = try HeaderReader(path)
        guard try reader.bytes(4) == Array("GGUF".utf8) else { throw ModelFileError("it does not begin with 'GGUF'") }
        var version = try reader.number(4)
        if version > 0xFFFF {
            reader.isBigEndian = true
            version = version.byteSwapped >> 32
        }
        guard version == 2 || version == 3 else { throw ModelFileError("it has version \(version), not 2 or 3") }
        let tensors = try reader.number(8)
        let keys = try reader.number(8)
        guard tensors <= mostTensors, keys <= mostKeys else {
            throw ModelFileError("it says to have \(tensors) tensors and \(keys) keys")
        }
        var alignment: UInt64 = 32
        var shards = 1
        for _ in 0..<keys {
            let key = try name(&reader)
            let type = try reader.number(4)
            if key == "general.alignment", type == 4 {
                alignment = try reader.number(4)
                guard alignment > 0, alignment <= 1 << 20 else { throw ModelFileError("its alignment is \(alignment)") }
            } else if key == "split.count", let width = width(type) {
                shards = Int(clamping: try reader.number(Int(width)))
            } else {
                try skipValue(type, &reader, depth: 0)
            }
        }
        var end: UInt64 = 0
        for _ in 0..<tensors { end = max(end, try tensorEnd(&reader, alignment)) }
        let rest = reader.position % alignment
        let start = rest == 0 ? reader.position : reader.position + (alignment - rest)
        let (needed, overflow) = start.addingReportingOverflow(end)
        guard !overflow, tensors == 0 || needed <= reader.size else {
            throw ModelFileError("its tensors end at byte \(needed), the file at \(reader.size)")
        }
        return shards
    }

    private static func name(_ reader: inout HeaderReader) throws -> String {
        let count = try reader.number(8)
        guard count <= longestName else { throw ModelFileError("a name in its header has \(count) bytes") }
        return String(decoding: try reader.bytes(Int(count)), as: UTF8.self)
    }

    private static func width(_ type: UInt64) -> UInt64? {
        switch type {
        case 0, 1, 7: 1
        case 2, 3: 2
        case 4, 5, 6: 4
        case 10, 11, 12: 8
        default: nil
        }
    }

    private static func skipValue(_ type: UInt64, _ reader: inout HeaderReader, depth: Int) throws {
        if let width = width(type) { return try reader.skip(width) }
        switch type {
        case 8: try reader.skip(try reader.number(8))
        case 9:
            guard depth < deepestArray else { throw ModelFileError("arrays in its header are nested too deeply") }
            let element = try reader.number(4)
            let count = try reader.number(8)
            if let width = width(element) {
                let (bytes, overflow) = count.multipliedReportingOverflow(by: width)
                guard !overflow else { throw HeaderReader.short }
                return try reader.skip(bytes)
            }
            // Each element takes at least the 8 bytes of its length.
            guard count <= reader.remaining / 8 else { throw HeaderReader.short }
            for _ in 0..<count { try skipValue(element, &reader, depth: depth + 1) }
        default: throw ModelFileError("a key in its header has the unknown type \(type)")
        }
    }

    /// Where a tensor ends, counted from the start of the data.
    private static func tensorEnd(_ reader: inout HeaderReader, _ alignment: UInt64) throws -> UInt64 {
        let name = try name(&reader)
        let dimensions = try reader.number(4)
        guard dimensions <= mostDimensions else {
            throw ModelFileError("tensor '\(name)' has \(dimensions) dimensions")
        }
        var elements: UInt64 = 1
        for _ in 0..<dimensions {
            let (product, overflow) = elements.multipliedReportingOverflow(by: try reader.number(8))
            guard !overflow else { throw ModelFileError("tensor '\(name)' has too many elements") }
            elements = product
        }
        let type = try reader.number(4)
        let offset = try reader.number(8)
        guard offset % alignment == 0 else {
            throw ModelFileError("tensor '\(name)' begins at \(offset), which is no multiple of \(alignment)")
        }
        guard let block = blocks[UInt32(truncatingIfNeeded: type)] else { return offset }
        guard elements % block.elements == 0 else {
            throw ModelFileError("tensor '\(name)' has \(elements) elements, which fill no whole blocks")
        }
        let (bytes, tooMany) = (elements / block.elements).multipliedReportingOverflow(by: block.bytes)
        let (end, overflow) = offset.addingReportingOverflow(bytes)
        guard !tooMany, !overflow else { throw ModelFileError("tensor '\(name)' has too many elements") }
        return end
    }
}
