// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Loads a dump into a new database, in the sections pg_dump gives it: definitions, data, then indexes and constraints.
///
/// pg_restore runs in parallel from a file only. But definitions and indexes need no more of an archive than its table
/// of contents, which comes first: it is kept in memory and given as such a file, while the data streams by once and
/// is never written to a disk of this host. See docs/performance.md for what that is worth.
struct PostgresLoad {
    let store: PostgresStore
    let client: PostgresClient
    /// Name of the new database.
    let target: String
    let settings: PostgresSettings
    let places: TablePlaces
    let progress: any ProgressSink
    let cancellation: Cancellation

    /// A larger table of contents (hundreds of thousands of tables) is not kept: the dump is loaded in one go.
    static let headLimit = 64 << 20

    private var subject: String { Self.subject(target) }

    static func subject(_ target: String) -> String { "cannot restore the dump into database '\(target)'" }

    /// Name of the phase in which indexes are built, as progress tells it.
    private static let indexPhase = "indexes"

    /// Returns the names of extensions that are created after the exchange.
    func run(_ content: any RestoreContent) throws -> Set<String> {
        let source = try content.openStream(PostgresParts.dump)
        defer { source.close() }
        // Of a part of it nobody knows the size before it was read.
        let size = content.isPartial ? nil : content.streamSize(PostgresParts.dump)
        let dump = try Self.head(of: source, cancellation)
        guard let headSize = dump.scanner.headSize,
            let contents = try? ArchiveContents(Array(dump.bytes[..<headSize]))
        else {
            // pg_restore knows better what is wrong with one that cannot be read here.
            try load(["--exit-on-error"], dump.bytes, source, size: size)
            return []
        }
        let session = try store.session(target, cancellation)
        var definitions = PostgresDefinitions(
            store: store, client: client, target: target, contents: contents,
            adaptation: try PostgresAdaptation(contents, content.facts, session), settings: settings,
            progress: progress, cancellation: cancellation)
        let placement = try placement(contents)
        try definitions.make("pre-data", placement: placement)
        let standIns =
            definitions.waiting.isEmpty
            ? PostgresDeferral.StandIns() : try PostgresDeferral.standIns(for: contents, session)
        let head = try definitions.dataHead(Set(standIns.sequences.map(\.id)), session)
        if dump.scanner.blocks > 0 {
            let arguments = ["--exit-on-error", "--section=data"]
            try load(arguments, head + dump.bytes[headSize...], source, size: size, added: head.count - headSize)
        } else {
            // Not a row, but where sequences stand. The end of the stream is read all the same: it holds checks.
            try check(
                client.run(
                    "pg_restore", ["--exit-on-error", "--section=data"], file: head, database: target, cancellation))
            try drain(source, read: dump.bytes.count, size: size)
        }
        for entry in standIns.entries + standIns.sequences { definitions.wait(for: entry) }
        let begin = SystemClock().monotonicSeconds()
        progress.report(.phaseStarted(name: Self.indexPhase, detail: store.subject))
        let watch = Cancellation()
        let watcher = BlockingThread<Void>(name: "pg-indexes") { watchIndexes(until: watch, size: size) }
        do {
            defer { watch.cancel() }
            try definitions.make("post-data", placement: placement, jobs: store.jobs)
        } catch {
            // It only watches and throws nothing.
            try? watcher.join()
            throw error
        }
        try watcher.join()
        progress.report(.phaseEnded(name: Self.indexPhase, seconds: SystemClock().monotonicSeconds() - begin))
        if !definitions.waiting.isEmpty {
            try PostgresDeferral(places: places, connection: session).keep(definitions.waiting, standIns)
        }
        return Set(definitions.waiting.filter { $0.kind == "EXTENSION" }.map(\.tag))
    }

    /// Reads until the table of contents is whole, or so long that it is not wanted.
    static func head(
        of source: any ByteSource, _ cancellation: Cancellation
    ) throws -> (bytes: [UInt8], scanner: CustomArchiveScanner) {
        var bytes: [UInt8] = []
        var scanner = CustomArchiveScanner()
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        while scanner.headSize == nil, bytes.count < headLimit {
            try cancellation.check()
            let count = try buffer.withUnsafeMutableBytes { try source.read(into: $0) }
            if count == 0 { break }
            bytes += buffer[..<count]
            do {
                try buffer.withUnsafeBytes { try scanner.consume(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            } catch {
                // pg_restore knows better what is wrong with it.
                return (bytes, CustomArchiveScanner())
            }
        }
        return (bytes, scanner)
    }

    /// Nothing is placed in tablespaces when one of the archive's is not to be had here.
    private func placement(_ contents: ArchiveContents) throws -> [String] {
        let missing = try PostgresTablespaces.missing(contents, store.connectMaintenance(cancellation))
        return missing.isEmpty ? [] : ["--no-tablespaces"]
    }

    private func check(_ result: ProcessResult) throws {
        guard result.termination.succeeded else {
            throw LifeboatError(
                subject,
                causes: ["pg_restore: \(result.termination)"] + ProcessResult.lastLines(of: result.standardError),
                hint: "The live database was not touched.")
        }
        let warnings = result.standardError.split(whereSeparator: \.isNewline)
            .filter { $0.hasPrefix("pg_restore: warning: ") }
        for line in ProcessResult.lastLines(of: warnings.joined(separator: "\n")) {
            progress.report(.warning(LifeboatError(line)))
        }
    }

    /// Streams the dump, what was read of it first, into pg_restore. `added`: bytes that its beginning is longer than in the
    /// snapshot.
    private func load(
        _ arguments: [String], _ first: [UInt8], _ source: any ByteSource, size: UInt64?, added: Int = 0
    ) throws {
        let running = try client.start("pg_restore", arguments, database: target, readsInput: true, cancellation)
        let process = running.process
        var counters = ProgressCounters()
        counters.bytesTotal = size
        counters.current = store.subject
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { buffer.deallocate() }
        do {
            try first.withUnsafeBytes { try process.write($0) }
            counters.bytesDone = UInt64(first.count - added)
            while true {
                try cancellation.check()
                let count = try source.read(into: buffer)
                if count == 0 { break }
                try process.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                counters.bytesDone += UInt64(count)
                progress.report(.counters(counters))
            }
            try process.closeInput()
        } catch ProcessError.inputClosed {
            // It ended early; how and why is told by its end, below.
        } catch {
            process.terminate(grace: 2)
            throw error
        }
        let result: ProcessResult
        do {
            result = try process.finish()
        } catch {
            process.terminate(grace: 2)
            throw error
        }
        withExtendedLifetime(running) {}
        try check(result)
        try checkSize(counters.bytesDone, size)
    }

    private func drain(_ source: any ByteSource, read: Int, size: UInt64?) throws {
        var done = UInt64(read)
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            try cancellation.check()
            let count = try buffer.withUnsafeMutableBytes { try source.read(into: $0) }
            if count == 0 { return try checkSize(done, size) }
            done += UInt64(count)
        }
    }

    private func checkSize(_ done: UInt64, _ size: UInt64?) throws {
        guard let size, done != size else { return }
        throw LifeboatError(
            subject, causes: ["pg_restore took \(done) of \(size) bytes"], hint: "The live database was not touched.")
    }

    /// Tells once a second which index is being built and how far it is. What cannot be found out is not told: this
    /// is for eyes only.
    private func watchIndexes(until end: Cancellation, size: UInt64?) {
        guard let session = try? store.session(target) else { return }
        var counters = ProgressCounters()
        counters.bytesDone = size ?? 0
        counters.bytesTotal = size
        while !end.isCancelled {
            let row = try? session.execute(
                """
                SELECT c.relname, p.phase, CASE WHEN p.blocks_total > 0 THEN 100 * p.blocks_done / p.blocks_total
                WHEN p.tuples_total > 0 THEN 100 * p.tuples_done / p.tuples_total END
                FROM pg_catalog.pg_stat_progress_create_index p LEFT JOIN pg_catalog.pg_class c ON c.oid = p.relid
                WHERE p.datname = pg_catalog.current_database() ORDER BY p.pid LIMIT 1
                """
            ).rows.first
            if let row, row.count == 3, let phase = row[1] {
                let table = row[0].map { " of \(PostgresNames.shown($0))" } ?? ""
                counters.current = "index\(table): \(phase)" + (row[2].map { ", \($0) %" } ?? "")
                progress.report(.counters(counters))
            }
            for _ in 0..<10 where !end.isCancelled { usleep(100_000) }
        }
    }
}
