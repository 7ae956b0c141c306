// SPDX-License-Identifier: Apache-2.0

/// The table of contents of a pg_dump archive in custom format: what it holds, as the SQL that makes it.
///
/// The layout is that of `CustomArchiveScanner`, which finds where it ends.
package struct ArchiveContents {
    package struct Entry {
        /// Where it lies in the head.
        var range = 0..<0
        /// Where its definition lies in the head, with the number of its bytes before it.
        var definitionRange = 0..<0
        /// Number within the archive; rows are filed under it.
        var id: Int64 = 0
        /// Whether rows are filed under its number.
        var hasData = false
        /// `TABLE`, `TABLE DATA`, `FK CONSTRAINT` …
        var kind = ""
        /// Name of the object, for a part of a table `TABLE PART`.
        var tag = ""
        /// Empty for what is in none.
        var schema = ""
        /// The statements that make it.
        var definition = ""
        /// COPY … FROM stdin, of entries with rows.
        var copyStatement = ""
        var tablespace = ""
        var accessMethod = ""
        var owner = ""
        var dependencies: [Int64] = []

        init() {}

        /// For people: `index public.words_idx`.
        var shown: String {
            let name = schema.isEmpty ? tag : "\(PostgresNames.shown(schema)).\(tag)"
            return "\(kind.lowercased()) \(name)"
        }
    }

    package let entries: [Entry]
    /// Whether rows are stored as they are, which is how lifeboat dumps them.
    package let hasPlainRows: Bool
    /// Bytes of an integer in the archive, without its sign.
    let integerSize: Int
    private let head: [UInt8]
    /// Of the number of entries.
    private let countRange: Range<Int>

    /// Takes the archive's beginning, up to the rows.
    package init(_ head: [UInt8]) throws(CustomArchiveError) {
        var reader = Reader(head)
        let minor = try reader.header()
        hasPlainRows = try (minor >= 15 ? Int64(reader.byte()) : reader.integer()) == 0
        for _ in 0..<7 { _ = try reader.integer() }  // the time
        for _ in 0..<3 { _ = try reader.text() }  // database, version of the server, of pg_dump
        let countStart = reader.position
        let count = try reader.integer()
        countRange = countStart..<reader.position
        guard count >= 0, count <= head.count else { throw .damaged("\(count) entries") }
        var entries: [Entry] = []
        for _ in 0..<count { entries.append(try Self.entry(&reader, minor)) }
        self.entries = entries
        self.head = head
        integerSize = reader.integerSize
    }

    /// The head without these entries: by itself that of an archive that never had them.
    func head(without removed: Set<Int64>) -> [UInt8] { head(definitions: [:]) { !removed.contains($0.id) } }

    /// The head of an archive that holds only some of the entries, some of them with other definitions, by number.
    func head(definitions: [Int64: String], where isKept: (Entry) -> Bool = { _ in true }) -> [UInt8] {
        let kept = entries.filter(isKept)
        var result = Array(head[..<countRange.lowerBound])
        append(kept.count, to: &result)
        for entry in kept {
            guard let definition = definitions[entry.id] else {
                result += head[entry.range]
                continue
            }
            result += head[entry.range.lowerBound..<entry.definitionRange.lowerBound]
            append(definition.utf8.count, to: &result)
            result += Array(definition.utf8)
            result += head[entry.definitionRange.upperBound..<entry.range.upperBound]
        }
        return result
    }

    /// A sign byte, then the magnitude, lowest byte first.
    private func append(_ number: Int, to bytes: inout [UInt8]) {
        bytes.append(0)
        for byte in 0..<integerSize { bytes.append(UInt8(truncatingIfNeeded: number >> (8 * byte))) }
    }

    private static func entry(_ reader: inout Reader, _ minor: UInt8) throws(CustomArchiveError) -> Entry {
        var entry = Entry()
        let start = reader.position
        entry.id = try reader.integer()
        entry.hasData = try reader.integer() != 0
        _ = try reader.text()  // two object ids
        _ = try reader.text()
        entry.tag = try reader.text() ?? ""
        entry.kind = try reader.text() ?? ""
        _ = try reader.integer()  // section
        let definitionStart = reader.position
        entry.definition = try reader.text() ?? ""
        entry.definitionRange = definitionStart..<reader.position
        _ = try reader.text()  // how to drop it
        entry.copyStatement = try reader.text() ?? ""
        entry.schema = try reader.text() ?? ""
        entry.tablespace = try reader.text() ?? ""
        if minor >= 14 { entry.accessMethod = try reader.text() ?? "" }
        if minor >= 16 { _ = try reader.integer() }  // kind of relation
        entry.owner = try reader.text() ?? ""
        _ = try reader.text()  // "with oids"
        while let dependency = try reader.text() {
            guard let id = Int64(dependency) else { throw .damaged("a dependency that is no number") }
            entry.dependencies.append(id)
        }
        try reader.skipOffset()
        entry.range = start..<reader.position
        return entry
    }

    func entry(_ id: Int64) -> Entry? { entries.first { $0.id == id } }

    /// How the server of the archive encoded its texts and rows.
    var encoding: String? {
        entries.first { $0.kind == "ENCODING" }?.definition.split(separator: "'").dropFirst().first.map(String.init)
    }

    private struct Reader {
        private let bytes: [UInt8]
        private(set) var position = 0
        private(set) var integerSize = 4
        private var offsetSize = 8

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        private mutating func take(_ count: Int) throws(CustomArchiveError) -> ArraySlice<UInt8> {
            guard count <= bytes.count - position else { throw .truncated(missingBlocks: 0) }
            defer { position += count }
            return bytes[position..<position + count]
        }

        /// Returns the minor version.
        mutating func header() throws(CustomArchiveError) -> UInt8 {
            let header = Array(try take(11))
            guard header.starts(with: "PGDMP".utf8), header[5] == 1, header[10] == 1 else { throw .notAnArchive }
            integerSize = Int(header[8])
            offsetSize = Int(header[9])
            guard (12...16).contains(header[6]), (1...8).contains(integerSize), (1...8).contains(offsetSize) else {
                throw .damaged("archive version 1.\(header[6])")
            }
            return header[6]
        }

        mutating func byte() throws(CustomArchiveError) -> UInt8 { try take(1).first ?? 0 }

        /// A sign byte (0 is plus), then the magnitude, lowest byte first.
        mutating func integer() throws(CustomArchiveError) -> Int64 {
            let isNegative = try byte() != 0
            var magnitude: UInt64 = 0
            for byte in try take(integerSize).reversed() { magnitude = magnitude << 8 | UInt64(byte) }
            guard magnitude <= UInt64(Int64.max) else { throw .damaged("a number out of range") }
            return isNegative ? -Int64(magnitude) : Int64(magnitude)
        }

        /// Nil for the null string. What is not UTF-8 shows as U+FFFD.
        mutating func text() throws(CustomArchiveError) -> String? {
            let length = try integer()
            guard length >= 0 else { return nil }
            guard length <= Int64(bytes.count) else { throw .truncated(missingBlocks: 0) }
            return String(decoding: try take(Int(length)), as: UTF8.self)
        }

        mutating func skipOffset() throws(CustomArchiveError) { _ = try take(1 + offsetSize) }
    }
}
