// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Data folders of databases, which a walk cannot capture as one state while the database runs.
enum LiveDatabase {
    /// A warning for each database whose marks are directly in this folder.
    static func warnings(in folder: FolderDescriptor, _ path: String) -> [LifeboatError] {
        let marks: [(name: String, database: String, store: String)] = [
            ("PG_VERSION", "a PostgreSQL cluster", "postgres"), ("dump.rdb", "Redis data", "redis"),
            ("appendonlydir", "Redis data", "redis"), ("chroma.sqlite3", "a Chroma database", "chroma"),
        ]
        var told: Set<String> = []
        return marks.compactMap { mark in
            guard (try? FileStatus.at(folder.raw, mark.name)) != nil, told.insert(mark.database).inserted else {
                return nil
            }
            return LifeboatError(
                "'\(path)' holds \(mark.database)",
                causes: ["files of a running database change while they are copied, and the copy may not open"],
                hint: "Protect it as a '\(mark.store)' component, or stop it for the backup (freeze: stop).")
        }
    }
}
