// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore

extension RedisStore {
    /// Compares the keys of every database. Services run by now, and a queue's workers take keys away: numbers that shrank
    /// are no loss when the server itself says that it loaded as many keys as the file holds. A server that does not say
    /// so (before 7.0) must have all but those whose time to live has passed.
    package func verify(_ content: any RestoreContent) throws -> [FactDifference] {
        let connection = try connectLoaded()
        let info = try connection.info()
        var differences = try appendOnlyTroubles(connection, info)
        guard let expected = RedisFacts.keys(content.facts) else { return differences }
        let total = expected.values.reduce(0, +)
        var floor = expected
        if let loaded = info.number("rdb_last_load_keys_loaded"),
            let expired = info.number("rdb_last_load_keys_expired"),
            loaded >= 0, expired >= 0, loaded + expired == total
        {
            floor = [:]
        } else if info.keys.contains(where: { $0.value < expected[$0.key] ?? 0 })
            || expected.contains(where: { $0.value > 0 && info.keys[$0.key] == nil })
        {
            floor = try alive(content)
        }
        for database in Set(expected.keys).union(info.keys.keys).sorted() {
            let (want, found) = (expected[database] ?? 0, info.keys[database] ?? 0)
            guard found < floor[database] ?? 0 || found > want else { continue }
            differences.append(
                FactDifference(name: "\(RedisFacts.keysPrefix)\(database)", expected: "\(want)", found: "\(found)"))
        }
        if let functions = content.facts.counts[RedisFacts.functions],
            let found = try? connection.command("FUNCTION", "LIST").items.count, found < functions
        {
            differences.append(
                FactDifference(name: RedisFacts.functions, expected: "\(functions)", found: "\(found)"))
        }
        return differences
    }

    /// Keys of the file whose time to live has not passed yet, by database.
    private func alive(_ content: any RestoreContent) throws -> [Int: Int64] {
        var alive: [Int: Int64] = [:]
        let source = CheckedRDBSource(
            try content.openStream(Self.partName), "cannot count the keys in the snapshot",
            now: UInt64(max(0, Glibc.time(nil))) * 1000
        ) { scanner in alive = scanner.databases.mapValues { $0.alive } }
        defer { source.close() }
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        while try buffer.withUnsafeMutableBytes({ try source.read(into: $0) }) > 0 {}
        return alive
    }

    /// A server that keeps an append-only file must be keeping it again.
    private func appendOnlyTroubles(_ connection: RedisConnection, _ info: RedisInfo) throws -> [FactDifference] {
        guard try connection.setting("appendonly") == "yes" else { return [] }
        return [("aof_enabled", "1"), ("aof_last_write_status", "ok"), ("aof_last_bgrewrite_status", "ok")]
            .filter { info[$0.0] != $0.1 }
            .map { FactDifference(name: $0.0, expected: $0.1, found: info[$0.0]) }
    }

    /// A session with a server that has loaded its data: waits for one that is just starting.
    private func connectLoaded() throws -> RedisConnection {
        var end = ContinuousClock.now.advanced(by: .seconds(options.startDeadline))
        var loadedBytes: Int64 = -1
        while true {
            do {
                let connection = try connect()
                let info = try connection.info()
                guard info.number("loading") == 1 else { return connection }
                // However long it takes, as long as it goes on.
                let bytes = info.number("loading_loaded_bytes") ?? 0
                if bytes != loadedBytes {
                    loadedBytes = bytes
                    end = .now.advanced(by: .seconds(options.startDeadline))
                }
                guard ContinuousClock.now < end else {
                    throw LifeboatError("\(subject) does not get on with loading its data")
                }
            } catch let error as RedisError {
                // Not there yet; an answer that refuses us is an answer.
                guard case .connection = error, ContinuousClock.now < end else { throw error }
            }
            Pause.milliseconds(200)
        }
    }
}
