// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Why a stream is not a whole pg_dump archive.
package enum CustomArchiveError: Error, LifeboatErrorConvertible, Equatable {
    /// It does not start with `PGDMP` and the custom format.
    case notAnArchive
    /// It ends too early: inside a structure, or with so many tables' data missing.
    case truncated(missingBlocks: Int)
    case damaged(String)

    package var lifeboatError: LifeboatError {
        switch self {
        case .notAnArchive: LifeboatError("the stream is not a pg_dump archive in custom format")
        case .truncated(let missing) where missing > 0:
            LifeboatError("the pg_dump archive is truncated", causes: ["the data of \(missing) entries is missing"])
        case .truncated: LifeboatError("the pg_dump archive is truncated")
        case .damaged(let what): LifeboatError("the pg_dump archive is damaged", causes: [what])
        }
    }
}

/// Walks a pg_dump archive in custom format as it streams by: header, table of contents, every data block to the last
/// byte. The format has no checksum and no end mark, so this is what tells a whole archive from one cut short.
///
/// Layout: `pg_backup_archiver.c` (WriteHead, WriteToc, WriteInt, WriteStr) and `pg_backup_custom.c` of PostgreSQL,
/// archive versions 1.12 (PostgreSQL 9.0) to 1.16 (17, 18). Of a newer version only the header is checked.
package struct CustomArchiveScanner {
    private enum Field { case byte, integer, string, offset }

    private enum State {
        case magic
        /// Field number so much of the running `fields`.
        case field(Int)
        /// Dependencies of an entry, until a null string.
        case dependency
        /// Where a seekable archive would hold the entry's offset.
        case offset
        case blockType
        case blockID(isLargeObjects: Bool)
        case largeObjectID
        case chunkLength(inLargeObject: Bool)
        /// A newer format: nothing to check.
        case unknown
    }

    /// Of `pg_backup_custom.c`.
    private static let blockData: UInt8 = 1
    private static let blockLargeObjects: UInt8 = 3
    private static let magic = Array("PGDMP".utf8)
    /// Magic, version (3 bytes), size of integers, size of offsets, format.
    private static let magicSize = 11
    private static let newestMinor: UInt8 = 16
    /// A table of contents beyond this is damage, not a database.
    private static let maximumEntries: Int64 = 50_000_000

    private var state = State.magic
    private var fields: [Field] = []
    private var entryFields: [Field] = []
    private var integerSize = 4
    private var offsetSize = 8
    private var isInHeader = true
    private var entriesLeft: Int64 = 0
    private var dumpID: Int64 = 0
    /// Entries whose data block has not come by yet.
    private var missing: Set<Int64> = []
    private var skip: UInt64 = 0
    private var pending: [UInt8] = []

    /// Bytes taken before the piece at hand.
    private var consumedBefore = 0
    /// The entry whose rows come by, when it is a wanted one.
    private var block: Int64?

    /// Entries (by dump id) whose rows the caller wants to see; each is taken out when its last row has come by.
    package var wanted: Set<Int64> = []
    /// Where in the piece taken last rows of wanted entries lie, in their order.
    package private(set) var rows: [(entry: Int64, range: Range<Int>)] = []

    /// Entries of the table of contents with data.
    package private(set) var blocks = 0
    /// Bytes of header and table of contents: by themselves an archive of everything but data. Nil until they have come
    /// by, and for newer formats.
    package private(set) var headSize: Int?

    package init() {}

    /// Takes the next bytes of the stream.
    package mutating func consume(_ input: UnsafeRawBufferPointer) throws(CustomArchiveError) {
        var position = 0
        rows.removeAll(keepingCapacity: true)
        defer { consumedBefore += input.count }
        while position < input.count {
            if case .unknown = state { return }
            if skip > 0 {
                let step = min(skip, UInt64(input.count - position))
                if let block { rows.append((block, position..<position + Int(step))) }
                skip -= step
                position += Int(step)
                continue
            }
            let need = neededBytes
            if pending.isEmpty, input.count - position >= need {
                let slice = UnsafeRawBufferPointer(rebasing: input[position..<position + need])
                position += need
                try advance(slice)
                noteHead(position)
                continue
            }
            let step = min(need - pending.count, input.count - position)
            pending.append(contentsOf: input[position..<position + step])
            position += step
            guard pending.count == need else { return }
            let whole = pending
            pending.removeAll(keepingCapacity: true)
            do {
                try whole.withUnsafeBytes { try advance($0) }
            } catch let error as CustomArchiveError {
                throw error
            } catch {
                throw .damaged("\(error)")  // advance throws nothing else; rethrows loses the type
            }
            noteHead(position)
        }
    }

    /// The first block type is looked for where the table of contents has ended.
    private mutating func noteHead(_ position: Int) {
        if headSize == nil, case .blockType = state { headSize = consumedBefore + position }
    }

    /// The stream has ended: throws unless that is where the archive ends.
    package func finish() throws(CustomArchiveError) {
        switch state {
        case .unknown: return
        case .blockType where skip == 0 && pending.isEmpty:
            if !missing.isEmpty { throw .truncated(missingBlocks: missing.count) }
        default: throw .truncated(missingBlocks: missing.count)
        }
    }

    /// Bytes that the running state looks at together.
    private var neededBytes: Int {
        switch state {
        case .magic: Self.magicSize
        case .field(let index):
            switch fields[index] {
            case .byte: 1
            case .integer, .string: 1 + integerSize
            case .offset: 1 + offsetSize
            }
        case .dependency, .blockID, .largeObjectID, .chunkLength: 1 + integerSize
        case .offset: 1 + offsetSize
        case .blockType, .unknown: 1
        }
    }

    private mutating func advance(_ bytes: UnsafeRawBufferPointer) throws(CustomArchiveError) {
        switch state {
        case .chunkLength(let inLargeObject):
            let length = try integer(bytes)
            guard length >= 0 else { throw .damaged("a data chunk of \(length) bytes") }
            if length > 0 {
                skip = UInt64(length)
            } else {
                if let block { wanted.remove(block) }
                block = nil
                state = inLargeObject ? .largeObjectID : .blockType
            }
        case .magic: try readMagic(bytes)
        case .field(let index): try readField(index, bytes)
        case .dependency:
            let length = try integer(bytes)
            if length < 0 { state = .offset } else { skip = UInt64(length) }
        case .offset:
            entriesLeft -= 1
            state = entriesLeft > 0 ? .field(0) : .blockType
        case .blockType:
            switch bytes[0] {
            case Self.blockData: state = .blockID(isLargeObjects: false)
            case Self.blockLargeObjects: state = .blockID(isLargeObjects: true)
            default: throw .damaged("a data block of unknown type \(bytes[0])")
            }
        case .blockID(let isLargeObjects):
            let id = try integer(bytes)
            guard missing.remove(id) != nil else { throw .damaged("data of an entry \(id) that has none") }
            block = !isLargeObjects && wanted.contains(id) ? id : nil
            state = isLargeObjects ? .largeObjectID : .chunkLength(inLargeObject: false)
        case .largeObjectID:
            state = try integer(bytes) == 0 ? .blockType : .chunkLength(inLargeObject: true)
        case .unknown: break
        }
    }

    private mutating func readMagic(_ bytes: UnsafeRawBufferPointer) throws(CustomArchiveError) {
        // 1: the custom format; 3 would be tar, 5 a folder.
        guard bytes.prefix(Self.magic.count).elementsEqual(Self.magic), bytes[5] == 1, bytes[10] == 1 else {
            throw .notAnArchive
        }
        let minor = bytes[6]
        guard minor <= Self.newestMinor else {
            state = .unknown
            return
        }
        integerSize = Int(bytes[8])
        offsetSize = Int(bytes[9])
        guard minor >= 12, (1...8).contains(integerSize), (1...8).contains(offsetSize) else {
            throw .damaged("archive version 1.\(minor), integers of \(integerSize), offsets of \(offsetSize) bytes")
        }
        // Compression, seven fields of the time, database, two versions, number of entries.
        fields = [minor >= 15 ? .byte : .integer]
        fields += [Field](repeating: .integer, count: 7) + [.string, .string, .string, .integer]
        // Dump id, has data, two object ids, tag, kind, section, definition, drop, copy, schema, tablespace …
        entryFields = [.integer, .integer, .string, .string, .string, .string, .integer]
        entryFields += [Field](repeating: .string, count: 5)
        if minor >= 14 { entryFields.append(.string) }  // table access method
        if minor >= 16 { entryFields.append(.integer) }  // kind of relation
        entryFields += [.string, .string]  // owner, "with oids"
        state = .field(0)
    }

    private mutating func readField(_ index: Int, _ bytes: UnsafeRawBufferPointer) throws(CustomArchiveError) {
        switch fields[index] {
        case .byte, .offset: break
        case .string:
            let length = try integer(bytes)
            if length > 0 { skip = UInt64(length) }
        case .integer:
            let value = try integer(bytes)
            if isInHeader {
                entriesLeft = value  // the last one read is the number of entries
            } else if index == 0 {
                dumpID = value
            } else if index == 1, value != 0 {
                guard missing.insert(dumpID).inserted else { throw .damaged("two entries have number \(dumpID)") }
                blocks += 1
            }
        }
        if index + 1 < fields.count {
            state = .field(index + 1)
        } else if isInHeader {
            guard (0...Self.maximumEntries).contains(entriesLeft) else { throw .damaged("\(entriesLeft) entries") }
            isInHeader = false
            fields = entryFields
            state = entriesLeft > 0 ? .field(0) : .blockType
        } else {
            state = .dependency
        }
    }

    /// A sign byte (0 is plus), then the magnitude, lowest byte first.
    private func integer(_ bytes: UnsafeRawBufferPointer) throws(CustomArchiveError) -> Int64 {
        var magnitude: UInt64 = 0
        for index in (1..<bytes.count).reversed() { magnitude = magnitude << 8 | UInt64(bytes[index]) }
        guard bytes[0] <= 1, magnitude <= UInt64(Int64.max) else { throw .damaged("a number out of range") }
        return bytes[0] == 0 ? Int64(magnitude) : -Int64(magnitude)
    }
}
