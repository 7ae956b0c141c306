// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LifeboatCore

/// A safetensors file: eight bytes of length, a JSON header, and tensors without a gap up to the last byte.
package enum SafetensorsFile {
    private struct Tensor: Decodable {
        var dtype: String
        var shape: [UInt64]
        var place: [UInt64]

        private enum CodingKeys: String, CodingKey {
            case dtype, shape
            case place = "data_offsets"
        }
    }

    private enum Member: Decodable {
        case tensor(Tensor)
        case metadata

        init(from decoder: any Decoder) throws {
            guard decoder.codingPath.last?.stringValue != "__metadata__" else {
                self = .metadata
                return
            }
            self = .tensor(try Tensor(from: decoder))
        }
    }

    /// Bits of an element.
    private static let bits: [String: UInt64] = [
        "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16,
        "U16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8, "F6_E2M3": 6, "F6_E3M2": 6,
        "F4": 4,
    ]
    /// The format's own limit.
    private static let longestHeader: UInt64 = 100_000_000
    /// Longer headers are not taken apart: the largest known ones have some hundred KiB.
    private static let longestParsed: UInt64 = 32 << 20

    /// Throws what is wrong with it.
    package static func check(_ path: String) throws {
        var reader = try HeaderReader(path)
        let length = try reader.number(8)
        guard length >= 2, length <= longestHeader else { throw ModelFileError("its header has \(length) bytes") }
        guard length <= reader.remaining else { throw HeaderReader.short }
        let data = reader.remaining - length
        guard length <= longestParsed else { return }
        let header = try reader.bytes(Int(length))
        guard header.first == UInt8(ascii: "{") else { throw ModelFileError("its header does not begin with '{'") }
        let members: [String: Member]
        do {
            members = try JSONDecoder().decode([String: Member].self, from: Data(header))
        } catch {
            throw ModelFileError("its header is no list of tensors")
        }
        var ranges: [(name: String, begin: UInt64, end: UInt64)] = []
        for case (let name, .tensor(let tensor)) in members {
            guard tensor.place.count == 2, tensor.place[0] <= tensor.place[1] else {
                throw ModelFileError("tensor '\(name)' has no place")
            }
            try checkSize(name, tensor)
            ranges.append((name, tensor.place[0], tensor.place[1]))
        }
        ranges.sort { ($0.begin, $0.end) < ($1.begin, $1.end) }
        var end: UInt64 = 0
        for range in ranges {
            guard range.begin == end else {
                throw ModelFileError("tensor '\(range.name)' begins at \(range.begin) instead of \(end)")
            }
            end = range.end
        }
        guard end == data else { throw ModelFileError("its tensors take \(end) bytes, the file has \(data) for them") }
    }

    private static func checkSize(_ name: String, _ tensor: Tensor) throws {
        guard let bits = bits[tensor.dtype] else { return }
        var total = bits
        for dimension in tensor.shape {
            let (product, overflow) = total.multipliedReportingOverflow(by: dimension)
            guard !overflow else { throw ModelFileError("tensor '\(name)' has too many elements") }
            total = product
        }
        let bytes = tensor.place[1] - tensor.place[0]
        guard total % 8 == 0, total / 8 == bytes else {
            throw ModelFileError("tensor '\(name)' has \(bytes) bytes instead of \(total / 8)")
        }
    }
}
