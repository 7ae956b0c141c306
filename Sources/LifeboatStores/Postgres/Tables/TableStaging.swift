// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

extension PostgresTableStore {
    package func stage(
        _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink, cancellation: Cancellation
    ) throws {
        let content = PostgresContent(content, store.database)
        let places = try TablePlaces(state)
        let connection = try session(cancellation)
        let archive = try TableArchive(content, self, cancellation)
        defer { archive.source.close() }
        let staging = TableStaging(
            places: places, subject: "cannot stage \(subject)", connection: connection, archive: archive)
        try staging.prepare()
        try staging.load(progress, told: store.subject, cancellation)
        try staging.check(content.facts, cancellation)
    }
}

/// Puts the rows of a dump into tables of a schema of their own.
struct TableStaging {
    let places: TablePlaces
    let subject: String
    let connection: PostgresConnection
    let archive: TableArchive

    private var catalog: TableCatalog { TableCatalog(connection: connection, subject: subject) }

    /// Makes the table of the snapshot at `place`, without its indexes and foreign keys. In a transaction. Returns its
    /// columns.
    static func make(
        _ table: ArchivedTable, _ place: PostgresTableName, _ catalog: TableCatalog
    ) throws -> [TableCatalog.Column] {
        let path = try PostgresSearchPath.live(of: table.owner, catalog.connection)
        try catalog.connection.runInTransaction(
            table.definition.statement(place), orWith: path, subject: catalog.subject)
        return try catalog.columns(place)
    }

    /// Makes the places, empty, and what a later process needs to know for the exchange.
    func prepare() throws {
        try connection.silentTransaction(subject) {
            // What an earlier attempt of the same restore left.
            try places.drop(places.staged, connection)
            try places.make(places.staged, connection)
            try connection.execute(
                "CREATE TABLE \(places.list) (number int PRIMARY KEY, schema text, name text, rows bigint)",
                subject: subject)
            try connection.execute(
                """
                CREATE TABLE \(places.steps) (number int, position int, phase text, sql text, sequence_schema text,
                sequence_name text)
                """, subject: subject)
            for (index, table) in archive.tables.enumerated() { try prepare(table, number: index + 1) }
        }
    }

    private func prepare(_ table: ArchivedTable, number: Int) throws {
        let columns = try Self.make(table, TablePlaces.table(number, in: places.staged), catalog)
        if try catalog.table(table.name) != nil {
            let differences = TableCatalog.differences(snapshot: columns, live: try catalog.columns(table.name))
            guard differences.isEmpty else {
                throw LifeboatError(subject, causes: ["table \(table.name.shown) was altered"] + differences)
            }
        }
        try connection.execute(
            "INSERT INTO \(places.list) (number, schema, name) VALUES ($1, $2, $3)",
            ["\(number)", table.name.schema, table.name.name], subject: subject)
        for (position, step) in table.steps.enumerated() {
            try connection.execute(
                "INSERT INTO \(places.steps) VALUES ($1, $2, $3, $4, $5, $6)",
                [
                    "\(number)", "\(position)", step.phase.rawValue, step.sql, step.sequence?.schema,
                    step.sequence?.name,
                ], subject: subject)
        }
    }

    /// Reads the dump as far as the last of the tables.
    func load(_ progress: any ProgressSink, told: String, _ cancellation: Cancellation) throws {
        let loader = TableLoader(
            places: places, archive: archive, connection: connection, subject: subject, cancellation: cancellation)
        var counters = ProgressCounters()
        counters.bytesTotal = archive.size
        counters.current = told
        try archive.read.withUnsafeBytes { try loader.take($0) }
        counters.bytesDone = UInt64(archive.read.count)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { buffer.deallocate() }
        while !loader.isDone {
            try cancellation.check()
            let count = try archive.source.read(into: buffer)
            if count == 0 { break }
            try loader.take(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            counters.bytesDone += UInt64(count)
            progress.report(.counters(counters))
        }
        try loader.finish()
    }

    /// Holds what was loaded against the facts, and notes it: from here on the exchange can be made.
    func check(_ facts: StoreFacts, _ cancellation: Cancellation) throws {
        for (index, table) in archive.tables.enumerated() {
            let place = TablePlaces.table(index + 1, in: places.staged)
            let count = try catalog.count(place, cancellation) ?? 0
            let fact = PostgresTableStore.fact(table.name)
            guard facts.counts[fact] == count else {
                throw LifeboatError(
                    subject,
                    causes: [
                        "\(fact): \(facts.counts[fact].map { "\($0)" } ?? "nothing") in the snapshot, \(count) restored"
                    ])
            }
            try connection.execute(
                "UPDATE \(places.list) SET rows = $1 WHERE number = $2", ["\(count)", "\(index + 1)"], subject: subject)
        }
    }
}

/// Takes the dump as it streams by, and hands the rows of each table to the server.
private final class TableLoader {
    private let places: TablePlaces
    private let archive: TableArchive
    private let connection: PostgresConnection
    private let subject: String
    private let cancellation: Cancellation
    private var scanner = CustomArchiveScanner()
    private var running: (entry: Int64, copy: PostgresCopy)?

    init(
        places: TablePlaces, archive: TableArchive, connection: PostgresConnection, subject: String,
        cancellation: Cancellation
    ) {
        self.places = places
        self.archive = archive
        self.connection = connection
        self.subject = subject
        self.cancellation = cancellation
        scanner.wanted = Set(archive.tables.map(\.rows))
    }

    var isDone: Bool { scanner.wanted.isEmpty }

    func take(_ piece: UnsafeRawBufferPointer) throws {
        do {
            try scanner.consume(piece)
        } catch {
            throw error.lifeboatError.wrapped(subject)
        }
        for (entry, range) in scanner.rows {
            if running?.entry != entry {
                try endTable()
                running = (entry, try begin(entry))
            }
            try running?.copy.write(UnsafeRawBufferPointer(rebasing: piece[range]))
        }
    }

    /// Throws unless the rows of all tables have come by.
    func finish() throws {
        guard isDone else {
            throw CustomArchiveError.truncated(missingBlocks: scanner.wanted.count).lifeboatError.wrapped(subject)
        }
        try endTable()
    }

    private func begin(_ entry: Int64) throws -> PostgresCopy {
        guard let index = archive.tables.firstIndex(where: { $0.rows == entry }) else {
            throw LifeboatError(subject, causes: ["the dump gives rows of an entry \(entry) that was not asked for"])
        }
        let columns = archive.tables[index].columns.map { PostgresTableName.quoted($0) }.joined(separator: ", ")
        let place = TablePlaces.table(index + 1, in: places.staged).sql
        // For functions in generated columns and checks; the statement names everything with its schema.
        let path = try PostgresSearchPath.live(of: archive.tables[index].owner, connection)
        try path.set(connection, subject)
        let encoding = try connection.literal(archive.contents.encoding ?? "UTF8")
        return try PostgresCopy(
            connection,
            "COPY \(place)\(columns.isEmpty ? "" : " (\(columns))") FROM STDIN WITH (ENCODING \(encoding))",
            subject: "cannot load the rows of table \(archive.tables[index].name.shown)")
    }

    private func endTable() throws {
        guard let running else { return }
        try running.copy.finish(cancellation)
        self.running = nil
        try connection.execute("SET search_path = ''", subject: subject)
    }
}
