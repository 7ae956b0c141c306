// SPDX-License-Identifier: Apache-2.0

/// Which program answers, and its version.
package struct RedisVersion: Sendable, Equatable, CustomStringConvertible {
    package enum Flavor: String, Sendable { case redis, valkey }

    package var flavor: Flavor
    /// Major, minor, patch.
    package var numbers: [Int]

    package init(_ flavor: Flavor, _ numbers: [Int]) {
        self.flavor = flavor
        self.numbers = numbers
    }

    /// From `redis 7.0.15` or `valkey 9.1.2`: the form it is kept in.
    package init?(_ text: String) {
        let words = text.split(separator: " ")
        guard words.count == 2, let flavor = Flavor(rawValue: String(words[0])) else { return nil }
        self.init(flavor, dotted: words[1])
    }

    package init?(_ flavor: Flavor, dotted: some StringProtocol) {
        let numbers = dotted.split(separator: ".").map { part in Int(part.prefix { $0.isASCII && $0.isNumber }) }
        guard let major = numbers.first ?? nil else { return nil }
        self.flavor = flavor
        self.numbers = [major] + numbers.dropFirst().prefix(2).map { $0 ?? 0 }
    }

    /// `7.0.15`.
    package var dotted: String { numbers.map { "\($0)" }.joined(separator: ".") }
    package var description: String { "\(flavor.rawValue) \(dotted)" }

    /// Compares major and minor number: what decides about the format of the data.
    package func isAtLeast(_ major: Int, _ minor: Int) -> Bool {
        let own = (numbers[0], numbers.count > 1 ? numbers[1] : 0)
        return own >= (major, minor)
    }

    /// The newest RDB version this program reads, as far as it is known: `rdb.h` of each release. Nil: newer than what
    /// is known here.
    package var newestRDB: Int? {
        switch flavor {
        case .redis:
            if isAtLeast(8, 0) { return nil }
            if isAtLeast(7, 4) { return 12 }
            if isAtLeast(7, 2) { return 11 }
            if isAtLeast(7, 0) { return 10 }
            return isAtLeast(5, 0) ? 9 : 8
        case .valkey:
            if isAtLeast(9, 2) { return nil }
            return isAtLeast(9, 0) ? 80 : 11
        }
    }

    /// Why this program cannot load a file of that header written by `writer`; nil: it can, as far as is known.
    package func refusal(of header: RDBHeader, writer: RedisVersion?) -> String? {
        let file = "RDB version \(header.version)\(writer.map { " of \($0)" } ?? "")"
        let own = "the server is \(self)"
        if header.isValkey, flavor == .redis { return "\(file) is of Valkey, \(own)" }
        // Valkey took numbers from 80 on; 12 to 79 belong to Redis alone.
        if !header.isValkey, flavor == .valkey, header.version > 11 { return "\(file) is of Redis only, \(own)" }
        if let newestRDB { return header.version > newestRDB ? "\(file) is newer than \(own)" : nil }
        guard let writer, writer.flavor == flavor else { return nil }
        return isAtLeast(writer.numbers[0], writer.numbers.count > 1 ? writer.numbers[1] : 0)
            ? nil : "\(file) is newer than \(own)"
    }
}

/// What INFO says.
package struct RedisInfo: Sendable {
    package private(set) var fields: [String: String] = [:]

    package init(_ text: String) {
        for line in text.split(whereSeparator: \.isNewline) where line.first != "#" {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[String(line[..<colon])] = String(line[line.index(after: colon)...])
        }
    }

    package subscript(_ name: String) -> String? { fields[name] }
    package func number(_ name: String) -> Int64? { fields[name].flatMap { Int64($0) } }

    /// Nil when it does not say.
    package var version: RedisVersion? {
        if let valkey = fields["valkey_version"] { return RedisVersion(.valkey, dotted: valkey) }
        return fields["redis_version"].flatMap { RedisVersion(.redis, dotted: $0) }
    }

    /// Keys of each database that has any: `db0:keys=5,expires=1,avg_ttl=0`.
    package var keys: [Int: Int64] {
        var keys: [Int: Int64] = [:]
        for (name, value) in fields where name.hasPrefix("db") {
            guard let number = Int(name.dropFirst(2)), value.hasPrefix("keys=") else { continue }
            keys[number] = Int64(value.dropFirst(5).prefix { $0 != "," })
        }
        return keys
    }
}

extension RedisConnection {
    package func info() throws(RedisError) -> RedisInfo {
        RedisInfo(try command("INFO").text ?? "")
    }

    /// One setting; nil when the server has none of that name, or keeps it from this user.
    package func setting(_ name: String) throws(RedisError) -> String? {
        do throws(RedisError) {
            let items = try command("CONFIG", "GET", name).items
            return items.count == 2 ? items[1].text : nil
        } catch {
            // Rights, or the command was renamed away.
            guard error.code != nil else { throw error }
            return nil
        }
    }
}
