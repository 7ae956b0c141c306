// SPDX-License-Identifier: Apache-2.0

/// Header and table of contents of a pg_dump archive in custom format, in memory. Layout: see `CustomArchiveScanner`,
/// which has to have found their end.
struct CustomArchiveContents {
    struct Entry {
        /// Where it lies in the head.
        var range: Range<Int>
        var number: Int64
        /// Has a data block of this number.
        var hasData: Bool
        /// `TABLE`, `TABLE DATA`, `FK CONSTRAINT` …
        var kind: String
        var schema: String
        var name: String
        /// Numbers of entries that have to be there before it.
        var dependencies: [Int64]
    }

    private let bytes: [UInt8]
    /// Of the number of entries.
    private let countRange: Range<Int>
    let entries: [Entry]

    /// The layout of the integers in the blocks of data.
    let integerSize: Int

    init(_ bytes: [UInt8]) throws(CustomArchiveError) {
        var cursor = Cursor(bytes: bytes)
        guard try cursor.take(5).elementsEqual("PGDMP".utf8) else { throw .notAnArchive }
        let minor = try cursor.take(3).dropFirst().first ?? 0
        let sizes = Array(try cursor.take(3))
        cursor.integerSize = Int(sizes[0])
        guard (1...8).contains(cursor.integerSize) else { throw .damaged("integers of \(sizes[0]) bytes") }
        // Compression, seven fields of the time, database, two versions.
        if minor >= 15 { _ = try cursor.take(1) } else { _ = try cursor.integer() }
        for _ in 0..<7 { _ = try cursor.integer() }
        for _ in 0..<3 { _ = try cursor.string() }
        let begin = cursor.position
        let count = try cursor.integer()
        countRange = begin..<cursor.position
        var entries: [Entry] = []
        for _ in 0..<max(0, count) {
            entries.append(try Self.entry(&cursor, minor: minor, offsetSize: Int(sizes[1])))
        }
        self.bytes = bytes
        self.entries = entries
        integerSize = cursor.integerSize
    }

    private static func entry(
        _ cursor: inout Cursor, minor: UInt8, offsetSize: Int
    ) throws(CustomArchiveError) -> Entry {
        let begin = cursor.position
        let number = try cursor.integer()
        let hasData = try cursor.integer() != 0
        for _ in 0..<2 { _ = try cursor.string() }
        let name = try cursor.string() ?? ""
        let kind = try cursor.string() ?? ""
        _ = try cursor.integer()
        // Definition, drop, copy.
        for _ in 0..<3 { _ = try cursor.string() }
        let schema = try cursor.string() ?? ""
        _ = try cursor.string()
        if minor >= 14 { _ = try cursor.string() }  // table access method
        if minor >= 16 { _ = try cursor.integer() }  // kind of relation
        for _ in 0..<2 { _ = try cursor.string() }
        var dependencies: [Int64] = []
        while let text = try cursor.string() {
            if let dependency = Int64(text) { dependencies.append(dependency) }
        }
        _ = try cursor.take(1 + offsetSize)
        return Entry(
            range: begin..<cursor.position, number: number, hasData: hasData, kind: kind, schema: schema, name: name,
            dependencies: dependencies)
    }

    /// The head without these entries: by itself an archive that never had them.
    func head(without removed: Set<Int64>) -> [UInt8] {
        let kept = entries.filter { !removed.contains($0.number) }
        var head = Array(bytes[..<countRange.lowerBound])
        head.append(0)
        for byte in 0..<countRange.count - 1 { head.append(UInt8(truncatingIfNeeded: kept.count >> (8 * byte))) }
        for entry in kept { head += bytes[entry.range] }
        return head
    }

    /// Reads the fields of the format one after the other.
    private struct Cursor {
        let bytes: [UInt8]
        var position = 0
        var integerSize = 4

        mutating func take(_ count: Int) throws(CustomArchiveError) -> ArraySlice<UInt8> {
            guard count >= 0, count <= bytes.count - position else { throw .truncated(missingBlocks: 0) }
            defer { position += count }
            return bytes[position..<position + count]
        }

        /// A sign byte (0 is plus), then the magnitude, lowest byte first.
        mutating func integer() throws(CustomArchiveError) -> Int64 {
            let isNegative = try take(1).first != 0
            var magnitude: UInt64 = 0
            for byte in try take(integerSize).reversed() { magnitude = magnitude << 8 | UInt64(byte) }
            guard magnitude <= UInt64(Int64.max) else { throw .damaged("a number out of range") }
            return isNegative ? -Int64(magnitude) : Int64(magnitude)
        }

        /// Nil for a null.
        mutating func string() throws(CustomArchiveError) -> String? {
            let length = try integer()
            guard length >= 0 else { return nil }
            guard let count = Int(exactly: length) else { throw .truncated(missingBlocks: 0) }
            return String(decoding: try take(count), as: UTF8.self)
        }
    }
}
