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
    /// Kinds whose inside is not looked at: what follows their names differs between versions.
    private static let opaque: Set<String> = [
        "IBFf", "IBHh", "IBHm", "IHNr", "ILfs", "INSp", "INSs", "IPLf", "IPRf", "IRMf", "IRMh", "IRfs", "IVLf", "IVRf",
        "ImRQ", "Irfn", "IwEe", "IwIQ", "IwLS", "IwP2", "IwPL", "IwPR", "IwRQ", "IwSh", "Iwrn", "Ix2L", "IxEe", "IxLS",
        "IxLa", "IxPL", "IxPR", "IxRq", "NPLf", "NPRf",
    ]
    private static let largestDimension: UInt64 = 1 << 20
    private static let mostVectors: UInt64 = 1 << 48

    /// Whether a file begins as an index does.
    static func isIndex(_ path: String) throws -> Bool {
        var reader = try HeaderReader(path)
        guard reader.size >= 4 else { return false }
        let magic = String(decoding: try reader.bytes(4), as: UTF8.self)
        return magic == "null" || (flat + idMaps + others).contains(magic) || opaque.contains(magic)
    }

    /// What a look at an index found that is no damage.
    package struct Findings: Equatable {
        /// The name of a kind no version of FAISS known here writes.
        var unknownKind: String?
        var lists: OnDiskLists?
    }

    /// Inverted lists of an index that lie in a file of their own (`OnDiskInvertedLists`).
    package struct OnDiskLists: Equatable {
        /// As the index names it, absolute or not. FAISS opens it for reading and writing.
        var path: String
        var size: UInt64
    }

    /// Throws what is wrong with it.
    @discardableResult
    package static func check(_ path: String) throws -> Findings {
        var reader = try HeaderReader(path)
        let magic = String(decoding: try reader.bytes(4), as: UTF8.self)
        var findings = Findings()
        if opaque.contains(magic) || isLikeAKind(magic) && !(flat + idMaps + others).contains(magic) {
            if !opaque.contains(magic) { findings.unknownKind = magic }
        } else {
            reader = try HeaderReader(path)
            let end = try check(&reader, depth: 0)
            if let end, end != reader.size {
                throw ModelFileError("it has \(reader.size) bytes instead of \(end)")
            }
            if end != nil { return findings }
        }
        // Only kinds with inverted lists, or that contain one, can keep them elsewhere.
        if magic.hasPrefix("Iw") || magic.hasPrefix("Ix") { findings.lists = try onDiskLists(path) }
        return findings
    }

    /// Four letters or digits of which the first is that of index kinds.
    private static func isLikeAKind(_ magic: String) -> Bool {
        (magic.hasPrefix("I") || magic.hasPrefix("N")) && magic.utf8.count == 4
            && magic.utf8.allSatisfy {
                (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
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

    /// Of a longer index only this much of its end is searched, where the table of its lists is.
    private static let searchedTail: UInt64 = 32 << 20
    private static let mostLists: UInt64 = 1 << 28
    private static let longestPath: UInt64 = 4096

    /// The lists of the index that lie elsewhere; nil when there are none. `ilod` marks their table.
    private static func onDiskLists(_ path: String) throws -> OnDiskLists? {
        let size = try HeaderReader(path).size
        let start = size > searchedTail ? size - searchedTail : 0
        var reader = try HeaderReader(path)
        try reader.skip(start)
        let bytes = try reader.bytes(Int(size - start))
        let mark = Array("ilod".utf8)
        guard bytes.count >= mark.count else { return nil }
        var position = 0
        while let next = bytes[position...].firstIndex(of: mark[0]) {
            position = next + 1
            guard bytes[next...].starts(with: mark) else { continue }
            var table = try HeaderReader(path)
            try table.skip(start + UInt64(next + mark.count))
            if let lists = try? listTable(&table) { return lists }
        }
        return nil
    }

    /// The table after its mark: number of lists, bytes of a code, the lists, free slots, the name of the file, its size.
    private static func listTable(_ reader: inout HeaderReader) throws -> OnDiskLists? {
        let count = try reader.number(8)
        _ = try reader.number(8)
        guard count <= mostLists, try reader.number(8) == count, count * 24 <= reader.remaining else { return nil }
        try reader.skip(count * 24)
        let slots = try reader.number(8)
        guard slots <= reader.remaining / 16 else { return nil }
        try reader.skip(slots * 16)
        let length = try reader.number(8)
        guard length > 0, length <= longestPath else { return nil }
        let name = try reader.bytes(Int(length))
        guard !name.contains(0) else { return nil }
        return OnDiskLists(path: String(decoding: name, as: UTF8.self), size: try reader.number(8))
    }

    private static func printable(_ magic: String) -> String {
        String(magic.unicodeScalars.map { $0.value >= 32 && $0.value < 127 ? Character($0) : "?" })
    }
}
