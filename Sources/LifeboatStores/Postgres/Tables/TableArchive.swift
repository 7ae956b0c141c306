// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// The dump of a snapshot, opened and read as far as its table of contents goes.
struct TableArchive {
    let source: any ByteSource
    /// What was read already, from the beginning of the dump.
    let read: [UInt8]
    let size: UInt64?
    let contents: ArchiveContents
    let tables: [ArchivedTable]

    /// The caller closes `source`.
    init(_ content: any RestoreContent, _ store: PostgresTableStore, _ cancellation: Cancellation) throws {
        let subject = "cannot restore \(store.subject)"
        guard content.streamSize(PostgresParts.dump) != nil else {
            throw LifeboatError(subject, causes: ["the snapshot holds no dump of it"])
        }
        size = content.streamSize(PostgresParts.dump)
        source = try content.openStream(PostgresParts.dump)
        do {
            let (bytes, scanner) = try PostgresLoad.head(of: source, cancellation)
            guard let headSize = scanner.headSize else {
                throw LifeboatError(
                    subject, causes: ["the dump's table of contents cannot be read"], hint: ArchivedTable.beside)
            }
            read = bytes
            do {
                contents = try ArchiveContents(Array(bytes[..<headSize]))
            } catch {
                throw error.lifeboatError.wrapped(subject)
            }
            guard contents.hasPlainRows else {
                throw LifeboatError(
                    subject, causes: ["the rows in the dump are compressed"], hint: ArchivedTable.beside)
            }
            tables = try Self.named(store.tables, in: contents, subject)
        } catch {
            source.close()
            throw error
        }
    }

    private static func named(
        _ texts: [String], in contents: ArchiveContents, _ subject: String
    ) throws -> [ArchivedTable] {
        guard !texts.isEmpty else { throw LifeboatError(subject, causes: ["no table is named"], exitCode: .usage) }
        let there = contents.entries.filter { $0.kind == "TABLE" }.map { PostgresTableName($0.schema, $0.tag) }
        let others = contents.entries.filter { ArchivedTable.otherKinds.contains($0.kind) }
            .map { PostgresTableName($0.schema, $0.tag) }
        var chosen: [PostgresTableName] = []
        for text in texts {
            let candidates = try PostgresTableName.candidates(text)
            // What is there but no table is refused with what it is instead.
            guard let name = candidates.first(where: there.contains) ?? candidates.first(where: others.contains) else {
                throw LifeboatError(
                    subject, causes: ["the snapshot holds no table '\(text)'"], hint: hint(candidates[0], there),
                    exitCode: .usage)
            }
            if !chosen.contains(name) { chosen.append(name) }
        }
        return try chosen.map { try ArchivedTable($0, in: contents) }
    }

    /// What may have been meant.
    private static func hint(_ name: PostgresTableName, _ there: [PostgresTableName]) -> String {
        var near = there.filter { $0.name == name.name }.map(\.shown)
        if near.isEmpty, let nearest = NearestWord.nearest(to: name.shown, among: there.map(\.shown)) {
            near.append(nearest)
        }
        if near.isEmpty, let nearest = NearestWord.nearest(to: name.name, among: there.map(\.name)) {
            near = there.filter { $0.name == nearest }.map(\.shown)
        }
        if !near.isEmpty { return "Did you mean \(near.sorted().joined(separator: " or "))?" }
        let some = there.map(\.shown).sorted().prefix(20).joined(separator: ", ")
        return there.isEmpty ? "It holds no table at all." : "It holds \(some)\(there.count > 20 ? " …" : "")."
    }
}
