// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Names of the facts of a Redis server.
enum RedisFacts {
    /// `keys:db0`: all of them; `expires:db0`: of these, the ones with a time to live. Missing when they could not be
    /// counted (`uncounted` says why).
    static let keysPrefix = "keys:db"
    static let expiresPrefix = "expires:db"
    static let functions = "functions"
    static let uncounted = "uncounted"
    static let engine = "engine"
    /// `REDIS0010`.
    static let format = "rdb"
    /// `verified`; `disabled`: the server has rdbchecksum off.
    static let checksum = "rdb-checksum"
    static let modulePrefix = "module:"
    static let databases = "databases"

    /// Settings a restore, or the one who makes a new server, needs to know.
    static let settings = [
        "appendonly", "maxmemory", "maxmemory-policy", databases, "dbfilename", "appenddirname", "appendfilename",
    ]

    static func texts(_ connection: RedisConnection, _ info: RedisInfo) throws -> [String: String] {
        var texts: [String: String] = [:]
        texts[engine] = info.version?.description
        for name in settings { texts[name] = try connection.setting(name) }
        for (name, version) in try modules(connection) { texts[modulePrefix + name] = version }
        return texts
    }

    /// Loaded modules with their versions; none when the user may not ask.
    static func modules(_ connection: RedisConnection) throws(RedisError) -> [String: String] {
        var modules: [String: String] = [:]
        let listed: [RedisReply]
        do throws(RedisError) {
            listed = try connection.command("MODULE", "LIST").items
        } catch {
            guard error.code != nil else { throw error }
            return [:]
        }
        for item in listed {
            let pairs = item.items
            var fields: [String: String] = [:]
            for index in stride(from: 0, to: pairs.count - 1, by: 2) {
                if let key = pairs[index].text { fields[key] = pairs[index + 1].text }
            }
            if let name = fields["name"] { modules[name] = fields["ver"] ?? "" }
        }
        return modules
    }

    static func facts(_ scanner: RDBScanner, _ texts: [String: String]) -> StoreFacts {
        var facts = StoreFacts(texts: texts)
        facts.texts[format] = scanner.header?.description
        facts.texts[checksum] = scanner.checksum?.rawValue
        if let uncounted = scanner.uncounted {
            facts.texts[self.uncounted] = uncounted
            return facts
        }
        for (number, database) in scanner.databases {
            facts.counts["\(keysPrefix)\(number)"] = database.keys
            if database.expires > 0 { facts.counts["\(expiresPrefix)\(number)"] = database.expires }
        }
        if scanner.functions > 0 { facts.counts[functions] = scanner.functions }
        return facts
    }

    /// Expected keys by database; nil: they were not counted.
    static func keys(_ facts: StoreFacts) -> [Int: Int64]? {
        if facts.texts[uncounted] != nil { return nil }
        var keys: [Int: Int64] = [:]
        for (name, count) in facts.counts where name.hasPrefix(keysPrefix) {
            if let number = Int(name.dropFirst(keysPrefix.count)) { keys[number] = count }
        }
        return keys
    }
}

/// Names of the files in a server's data folder, by its settings or their defaults.
struct RedisFiles: Equatable {
    /// The RDB file.
    var databaseName: String
    /// Since 7.0: the folder of the append-only file's parts.
    var appendFolder: String
    /// The append-only file itself before 7.0, the beginning of its parts' names since.
    var appendName: String
    var isAppendOnly: Bool

    init(_ texts: [String: String]) {
        func name(_ key: String, _ usual: String) -> String {
            guard let name = texts[key], !name.isEmpty, !name.contains("/"), name != ".", name != ".." else {
                return usual
            }
            return name
        }
        databaseName = name("dbfilename", "dump.rdb")
        appendFolder = name("appenddirname", "appendonlydir")
        appendName = name("appendfilename", "appendonly.aof")
        isAppendOnly = texts["appendonly"] == "yes"
    }

    /// Everything a server may load its data from.
    var all: [String] { [databaseName, appendFolder, appendName] }
}
