// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

package struct SQLitePolicy: Sendable, Equatable {
    /// The database file.
    package var path: String
    package init(path: String) { self.path = path }
}

extension PolicyReader {
    mutating func sqlite(_ node: LocatedNode, _ path: String) -> SQLitePolicy? {
        guard let fields = fields(node, path, known: ["path"]), let file = required("path", in: fields),
            let database = self.path(file, fields.path("path"))
        else { return nil }
        let name = database.split(separator: "/").last ?? ""
        for sidecar in ["-wal", "-shm", "-journal"] where name.hasSuffix(sidecar) {
            report(
                "'\(fields.path("path"))' names what SQLite keeps beside a database", at: file.location,
                hint: "Name the database itself: '\(Self.shortened(String(database.dropLast(sidecar.count))))'.")
            return nil
        }
        if name.contains(where: { "*?[".contains($0) }) {
            report(
                "'\(fields.path("path"))' is a pattern", at: file.location,
                hint: "Name one database; each of several is a component of its own.")
            return nil
        }
        return SQLitePolicy(path: database)
    }
}
