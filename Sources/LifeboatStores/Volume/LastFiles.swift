// SPDX-License-Identifier: Apache-2.0

import LifeboatIO
import Synchronization

/// Files without which the data around them cannot be used: servers refuse to start without them. A restore that writes
/// over live data takes them away first and puts them in place last, so that nothing starts on a mixture.
final class LastFiles: Sendable {
    /// What the file is written as until then: `<name>` and this.
    static let ending = ".lifeboat-last"

    /// Whole paths below a volume's root, or their ends: PostgreSQL, Chroma, Qdrant, Redis, MariaDB.
    private static let ends = [
        "global/pg_control", "chroma.sqlite3", "raft_state.json", "dump.rdb", ".aof.manifest", "ibdata1",
    ].map { Array($0.utf8) }

    private let waiting = Mutex<[(path: [UInt8], name: [UInt8], final: [UInt8])]>([])

    static func contains(_ path: [UInt8]) -> Bool {
        ends.contains { end in
            guard path.count >= end.count, path.suffix(end.count).elementsEqual(end) else { return false }
            // A name of its own, unless the end is one of a name.
            return end[0] == 0x2E || path.count == end.count || path[path.count - end.count - 1] == 0x2F
        }
    }

    /// The name a file is created under: another one than its own, ended by a NUL, when it comes last.
    func place(_ path: [UInt8], _ name: [UInt8]) -> [UInt8]? {
        guard Self.contains(path) else { return nil }
        let temporary = name.dropLast() + Array(Self.ending.utf8) + [0]
        waiting.withLock { $0.append((path, Array(temporary), name)) }
        return Array(temporary)
    }

    var isEmpty: Bool { waiting.withLock { $0.isEmpty } }

    /// Gives each file its name.
    func finish(
        _ rename: (_ path: [UInt8], _ name: [UInt8], _ final: [UInt8]) throws -> Void
    ) throws {
        let all = waiting.withLock { $0 }
        for file in all { try rename(file.path, file.name, file.final) }
        waiting.withLock { $0 = [] }
    }
}
