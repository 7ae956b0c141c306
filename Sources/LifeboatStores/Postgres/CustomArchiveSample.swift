// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// A pg_dump archive that streams by without the data of some tables; all definitions stay, but for the foreign keys of
/// which a table is left out: they could not hold.
final class CustomArchiveSample: ByteSource {
    private enum Block: Equatable {
        case data, largeObjects
    }

    /// Of `pg_backup_custom.c`.
    private static let blockData: UInt8 = 1
    private static let blockLargeObjects: UInt8 = 3
    private static let portion = 1 << 20

    private let source: any ByteSource
    private let leavesOut: (_ table: String) -> Bool
    private let subject: String
    private var removed: Set<Int64> = []
    private var integerSize = 4
    private var hasBegun = false

    private var input: [UInt8] = []
    private var position = 0
    /// Of what is in `input`.
    private var end = 0
    private var hasEnded = false
    private var output: [UInt8] = []
    private var given = 0
    /// Bytes left of the chunk at hand.
    private var chunk = 0
    private var block: Block?
    /// In a block of large objects: between two of them.
    private var isBetweenObjects = false
    private var isKept = true

    /// `leavesOut` is asked by `schema.name`, as facts show it.
    init(_ source: any ByteSource, _ subject: String, leavesOut: @escaping (_ table: String) -> Bool) {
        self.source = source
        self.subject = subject
        self.leavesOut = leavesOut
    }

    func close() { source.close() }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if !hasBegun { try begin() }
        while given == output.count {
            output.removeAll(keepingCapacity: true)
            given = 0
            guard try fill() else { return 0 }
        }
        let count = min(buffer.count, output.count - given)
        buffer.copyBytes(from: output[given..<given + count])
        given += count
        return count
    }

    private func begin() throws {
        hasBegun = true
        let (bytes, scanner) = try PostgresLoad.head(of: source, Cancellation())
        guard let headSize = scanner.headSize else {
            throw LifeboatError(
                "\(subject) cannot be restored in part: its table of contents is too large, or of a newer PostgreSQL",
                hint: "Drill the component whole.")
        }
        let contents = try ArchiveContents(Array(bytes[..<headSize]))
        integerSize = contents.integerSize
        removed = Self.removed(contents.entries, leavesOut)
        output = contents.head(without: removed)
        (input, position, end) = (bytes, headSize, bytes.count)
    }

    /// Numbers of the entries that go: data of tables, foreign keys without it, and what is said of those.
    private static func removed(
        _ entries: [ArchiveContents.Entry], _ leavesOut: (_ table: String) -> Bool
    ) -> Set<Int64> {
        var removed: Set<Int64> = []
        var filled: Set<String> = []
        for entry in entries where entry.kind == "TABLE DATA" && entry.hasData {
            let table = PostgresNames.shown(entry.schema, entry.tag)
            if leavesOut(table) { removed.insert(entry.id) } else { filled.insert(table) }
        }
        if removed.isEmpty { return [] }
        var unfilled: Set<Int64> = []
        for entry in entries where entry.kind == "TABLE" {
            if !filled.contains(PostgresNames.shown(entry.schema, entry.tag)) { unfilled.insert(entry.id) }
        }
        var gone: Set<Int64> = []
        for entry in entries {
            let isForeignKey = entry.kind == "FK CONSTRAINT" && entry.dependencies.contains { unfilled.contains($0) }
            if isForeignKey || entry.dependencies.contains(where: { gone.contains($0) }) { gone.insert(entry.id) }
        }
        return removed.union(gone)
    }

    /// Takes more of the source into `output`; false at its end.
    private func fill() throws -> Bool {
        while output.count < Self.portion {
            if chunk > 0 {
                guard try hasInput() else { throw truncated }
                let step = min(chunk, end - position)
                if isKept { output += input[position..<position + step] }
                position += step
                chunk -= step
            } else if let block {
                try advance(block)
            } else {
                guard try hasInput() else { break }
                try beginBlock()
            }
        }
        return !output.isEmpty
    }

    private func beginBlock() throws {
        let kind = input[position]
        position += 1
        switch kind {
        case Self.blockData: block = .data
        case Self.blockLargeObjects: block = .largeObjects
        default: throw CustomArchiveError.damaged("a block of kind \(kind)")
        }
        isBetweenObjects = block == .largeObjects
        let before = output.count
        output.append(kind)
        isKept = true
        isKept = !removed.contains(try integer())
        if !isKept { output.removeLast(output.count - before) }
    }

    private func advance(_ block: Block) throws {
        let value = try integer()
        guard !isBetweenObjects else {
            if value == 0 { self.block = nil } else { isBetweenObjects = false }
            return
        }
        guard let length = Int(exactly: value), length >= 0 else {
            throw CustomArchiveError.damaged("a data chunk of \(value) bytes")
        }
        chunk = length
        guard length == 0 else { return }
        if block == .largeObjects { isBetweenObjects = true } else { self.block = nil }
    }

    /// Whether there is a byte to look at.
    private func hasInput() throws -> Bool {
        guard position == end else { return true }
        guard !hasEnded else { return false }
        if input.count != Self.portion { input = [UInt8](repeating: 0, count: Self.portion) }
        end = try input.withUnsafeMutableBytes { try source.read(into: $0) }
        position = 0
        hasEnded = end == 0
        return !hasEnded
    }

    /// A sign byte (0 is plus), then the magnitude, lowest byte first; passed on with what is kept.
    private func integer() throws -> Int64 {
        guard try hasInput() else { throw truncated }
        let sign = input[position]
        var magnitude: UInt64 = 0
        for place in 0...integerSize {
            guard try hasInput() else { throw truncated }
            let byte = input[position]
            if place > 0 { magnitude |= UInt64(byte) << (8 * UInt64(place - 1)) }
            if isKept { output.append(byte) }
            position += 1
        }
        guard magnitude <= UInt64(Int64.max) else { throw CustomArchiveError.damaged("a number out of range") }
        return sign == 0 ? Int64(magnitude) : -Int64(magnitude)
    }

    private var truncated: CustomArchiveError { .truncated(missingBlocks: 0) }
}
