// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Tablespaces of a snapshot on the server it is restored to.
enum PostgresTablespaces {
    /// Those that objects of the archive are in, and this user cannot place anything in here. Sorted.
    static func missing(_ contents: ArchiveContents, _ connection: PostgresConnection) throws -> [String] {
        let named = Set(contents.entries.map(\.tablespace)).subtracting(["", "pg_default"])
        if named.isEmpty { return [] }
        let usable = try connection.execute(
            "SELECT spcname FROM pg_catalog.pg_tablespace WHERE pg_catalog.has_tablespace_privilege(oid, 'CREATE')",
            subject: "cannot list the tablespaces of PostgreSQL at \(connection.address)")
        return named.subtracting(usable.rows.compactMap { $0[0] }).sorted()
    }

    static func warning(_ missing: [String], _ subject: String) -> LifeboatError {
        LifeboatError(
            "all of \(subject) is placed in the default tablespace",
            causes: ["not to be used here: \(missing.map { "tablespace '\($0)'" }.joined(separator: ", "))"],
            hint: "Create the tablespaces first (CREATE TABLESPACE), and grant CREATE on them, to place it as it was.")
    }
}
