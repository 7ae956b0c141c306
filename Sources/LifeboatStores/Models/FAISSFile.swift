// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// The header of a FAISS index as `write_index` of version 1.15 and earlier writes it. Flat indexes, also inside of id
/// maps, have exactly one size; the others have one that is larger than their header.
package enum FAISSFile {
    private static let flat = ["IxFI", "IxF2", "IxFl"]
    private static let idMaps = ["IxMp", "IxM2"]
    private static let others = [
        "IxFP", "IxFp", "IxHe", "IxPq", "IxSQ", "IxPT", "IxRF", "IxRP", "IwFl", "IwFd", "IwPQ", "IwQR", "IwSq", "IwPf",
        "IPfs", "IHNf", "IHfP", "IHNp", "IHNs", "IHN2", "IHc2", "INSf", "INNf", "Imiq", "Ixrq", "Ixrr", "Iwrq", "Iwrr",
        "IBxF", "IBwF", "IBHf", "IBMp", "IBM2",
    ]
    private static let largestDimension: UInt64 = 1 << 20
    private static let mostVectors: UInt64 = 1 << 48

    /// Whether a file begins as an index does.
    static func isIndex(_ path: String) throws -> Bool {
        var reader = try HeaderReader(path)
        guard reader.size >= 4 else { return false }
        let magic = String(decoding: try reader.bytes(4), as: UTF8.self)
        return magic == "null" || (flat + idMaps + others).contains(magic)
    }

    /// Throws what is wrong with it.
    package static func check(_ path: String) throws {
        var reader = try HeaderReader(path)
        let end = try check(&reader, depth: 0)
        if let end, end != reader.size {
            throw ModelFileError("it has \(reader.size) bytes instead of \(end)")
        }
    }

    /// Where the index that begins here ends; nil when that takes more than its header to say.
    private static func check(_ reader: inout HeaderReader, depth: Int) throws -> UInt64? {
        guard depth < 8 else { throw ModelFileError("indexes in it are nested too deeply") }
        let magic = String(decoding: try reader.bytes(4), as: UTF8.self)
        if magic == "null" { return reader.position }
        guard (flat + idMaps + others).contains(magic) else {
            throw ModelFileError("it begins with '\(printable(magic))', which is no FAISS index")
        }
        let dimension = try reader.number(4)
        // A binary index has its code size here, in the place of half of the number of vectors.
        if magic.hasPrefix("IB") { try reader.skip(4) }
        let vectors = try reader.number(8)
        guard dimension >= 1, dimension <= largestDimension, vectors <= mostVectors else {
            throw ModelFileError("it says to have \(vectors) vectors of \(dimension) dimensions")
        }
        if magic.hasPrefix("IB") { return nil }
        try reader.skip(16)
        let isTrained = try reader.number(1)
        let metric = try reader.number(4)
        guard isTrained <= 1 else { throw ModelFileError("its header is damaged") }
        if metric > 1 { try reader.skip(4) }
        if flat.contains(magic) {
            let numbers = try reader.number(8)
            let (product, overflow) = dimension.multipliedReportingOverflow(by: vectors)
            guard !overflow, numbers == product else {
                throw ModelFileError("it has \(numbers) numbers for \(vectors) vectors of \(dimension) dimensions")
            }
            guard numbers <= reader.remaining / 4 else {
                throw ModelFileError("it ends inside its vectors, of which there should be \(vectors)")
            }
            try reader.skip(numbers * 4)
            return reader.position
        }
        if idMaps.contains(magic) {
            guard try check(&reader, depth: depth + 1) != nil else { return nil }
            let ids = try reader.number(8)
            guard ids == vectors, ids <= reader.remaining / 8 else {
                throw ModelFileError("it ends inside its ids, of which there should be \(vectors)")
            }
            try reader.skip(ids * 8)
            return reader.position
        }
        guard reader.remaining > 0 else { throw HeaderReader.short }
        return nil
    }

    private static func printable(_ magic: String) -> String {
        String(magic.unicodeScalars.map { $0.value >= 32 && $0.value < 127 ? Character($0) : "?" })
    }
}
