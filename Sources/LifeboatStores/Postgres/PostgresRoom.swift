// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

extension PostgresStore {
    package var stagesOnServer: Bool { true }

    /// A restored database takes at most what it took when it was captured.
    package func stagingRoom(_ content: any RestoreContent) throws -> StagingRoom? {
        let content = PostgresContent(content, database)
        let size = content.facts.texts[PostgresFacts.size].flatMap { UInt64($0) }
        guard let needed = size ?? content.streamSize(PostgresParts.dump) else { return nil }
        let connection = try connectMaintenance()
        guard let folder = try folder(ofTablespace: try settings(content).tablespace, connection) else { return nil }
        return try StagingRoom.inside(folder, needed: needed)
    }

    /// The folder of a tablespace (of the server's own where there is none of that name) as this host sees it; nil when
    /// the server is elsewhere, or does not tell this user.
    func folder(ofTablespace tablespace: String, _ connection: PostgresConnection) throws -> String? {
        let host = endpoint.host
        let isHere =
            host.hasPrefix("/") || host.hasPrefix("127.") || ["localhost", "::1"].contains(host)
            || endpoint.container != nil
        guard isHere else { return nil }
        do {
            let row = try connection.execute(
                """
                SELECT pg_catalog.current_setting('data_directory'),
                (SELECT system_identifier FROM pg_catalog.pg_control_system()),
                (SELECT pg_catalog.pg_tablespace_location(oid) FROM pg_catalog.pg_tablespace WHERE spcname = $1)
                """, [tablespace], subject: "cannot ask for the data folder of PostgreSQL at \(endpoint.address)"
            ).rows.first
            guard let row, row.count == 3, let data = row[0], let identifier = row[1], let here = try hostPath(data),
                try Self.identifier(here) == identifier
            else { return nil }
            guard let location = row[2], !location.isEmpty else { return here }
            return try hostPath(location)
        } catch let error as PostgresError where error.sqlState == SQLState.insufficientPrivilege {
            return nil
        }
    }

    private func hostPath(_ path: String) throws -> String? {
        guard let container = endpoint.container else { return path }
        return try container.hostPath(path, runner)
    }

    /// What a cluster calls itself: the first field of its control file (pg_control.h). A port of this host may lead to
    /// a server elsewhere, whose data folder is not the one of that name here. Nil: it is not there, or not for us.
    private static func identifier(_ data: String) throws -> String? {
        let path = "\(data)/global/pg_control"
        guard access(path, R_OK) == 0 else { return nil }
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        var bytes = [UInt8](repeating: 0, count: 8)
        let count = try bytes.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, path) }
        guard count == bytes.count else { return nil }
        return "\(bytes.withUnsafeBytes { $0.loadUnaligned(as: Int64.self) })"
    }
}

extension PostgresServerStore {
    package var stagesOnServer: Bool { true }

    /// All databases together; they lie on one file system, or it cannot be told.
    package func stagingRoom(_ content: any RestoreContent) throws -> StagingRoom? {
        var total: StagingRoom?
        for database in try restored(content.facts) {
            guard let room = try store(database).stagingRoom(content) else { return nil }
            guard let before = total else {
                total = room
                continue
            }
            guard before.device == room.device else { return nil }
            let (sum, overflow) = before.needed.addingReportingOverflow(room.needed)
            total?.needed = overflow ? .max : sum
        }
        return total
    }
}

extension PostgresTableStore {
    package var stagesOnServer: Bool { true }

    /// The rows of the snapshot twice, staged and put in place, and those that are live once more, put aside. As large as
    /// the live ones are on average; nil when there are none to judge by.
    package func stagingRoom(_ content: any RestoreContent) throws -> StagingRoom? {
        let facts = PostgresContent(content, store.database).facts
        // What is not in the snapshot is the preflight's to tell.
        guard let names = try? captured(in: facts) else { return nil }
        let connection = try session()
        var needed = 0.0
        for name in names {
            let row = try connection.execute(
                """
                SELECT pg_catalog.pg_total_relation_size(c.oid), c.reltuples, c.reltablespace FROM pg_catalog.pg_class c
                JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2
                """, [name.schema, name.name], subject: "cannot look at table \(name.shown)"
            ).rows.first
            guard let row, row.count == 3, let size = row[0].flatMap({ Double($0) }),
                let rows = row[1].flatMap({ Double($0) }), rows > 0, row[2] == "0"
            else { return nil }
            needed += size + 2 * size / rows * Double(facts.counts[Self.fact(name)] ?? 0)
        }
        let tablespace = try connection.execute(
            """
            SELECT t.spcname FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
            WHERE d.datname = pg_catalog.current_database()
            """, subject: "cannot look at \(store.subject)"
        ).scalar
        guard let folder = try store.folder(ofTablespace: tablespace ?? "pg_default", connection) else { return nil }
        return try StagingRoom.inside(folder, needed: UInt64(exactly: needed.rounded()) ?? .max)
    }
}
