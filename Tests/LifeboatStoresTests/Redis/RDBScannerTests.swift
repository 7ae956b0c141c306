// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

struct CRC64Tests {
    @Test func `the check value of the polynomial`() {
        var crc = CRC64()
        Array("123456789".utf8).withUnsafeBytes { crc.update($0) }
        #expect(crc.value == 0xe9c6_d914_c4b8_d9ca)
    }

    @Test func `pieces of any size give the same value`() {
        var random = SplitMix64(seed: 1)
        let bytes = (0..<1000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        var whole = CRC64()
        bytes.withUnsafeBytes { whole.update($0) }
        for size in [1, 3, 7, 8, 9, 64, 999] {
            var crc = CRC64()
            for start in stride(from: 0, to: bytes.count, by: size) {
                bytes[start..<min(start + size, bytes.count)].withUnsafeBytes { crc.update($0) }
            }
            #expect(crc.value == whole.value)
        }
    }
}

@Suite(.enabled(if: RedisServer.shouldRun(), "needs Redis and Valkey (scripts/setup)"))
struct RDBScannerTests {
    private func scan(_ bytes: [UInt8], pieces: Int = 1 << 20, now: UInt64 = 0) throws -> RDBScanner {
        var scanner = RDBScanner(now: now)
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            try bytes[start..<min(start + pieces, bytes.count)].withUnsafeBytes { try scanner.consume($0) }
        }
        try scanner.finish()
        return scanner
    }

    /// A small file with every kind of value.
    private static func small(_ engine: RedisServer.Engine, settings: [String] = []) throws -> [UInt8] {
        let server = try RedisServer(engine, settings: settings)
        defer { server.remove() }
        let connection = try server.connect()
        try connection.command("SET", "s", "value")
        try connection.command("SET", "n", "-70000")
        try connection.command("SET", "packed", String(repeating: "ab", count: 100))
        try connection.command("RPUSH", "l", "1", "two", "3.5")
        try connection.command("SADD", "ints", "1", "2", "3")
        try connection.command("SADD", "words", "a", "b")
        try connection.command(["SADD", "many"] + (0..<600).map { "\($0)x" })
        try connection.command(["ZADD", "z"] + (0..<200).flatMap { ["\($0)", "m\($0)"] })
        try connection.command(["HSET", "h"] + (0..<600).flatMap { ["f\($0)", "\($0)"] })
        try connection.command("XADD", "x", "1-1", "f", "v")
        try connection.command("XGROUP", "CREATE", "x", "g", "0")
        try connection.command("XREADGROUP", "GROUP", "g", "c", "STREAMS", "x", ">")
        try connection.command("SELECT", "9")
        try connection.command("SET", "late", "x", "PX", "100000000")
        try connection.command("SET", "soon", "x", "PX", "50000000")
        return try server.store().captureStreams().rdb
    }

    @Test(arguments: RedisServer.Engine.allCases)
    func `pieces of any size count the same`(_ engine: RedisServer.Engine) throws {
        let bytes = try Self.small(engine)
        let whole = try scan(bytes)
        #expect(whole.databases[0]?.keys == 10 && whole.databases[9]?.keys == 2 && whole.keys == 12)
        #expect(whole.databases[9]?.expires == 2)
        #expect(whole.uncounted == nil && whole.checksum == .verified)
        #expect(whole.header?.version == [.redis6: 9, .redis7: 10, .valkey9: 80][engine])
        for size in [1, 2, 3, 5, 8, 13, 100] {
            let scanner = try scan(bytes, pieces: size)
            #expect(scanner.databases == whole.databases && scanner.auxiliary == whole.auxiliary)
        }
        let time = try #require(whole.auxiliary["ctime"].flatMap { UInt64($0) }) * 1000
        let later = try scan(bytes, now: time + 70_000_000)
        #expect(later.databases[9]?.alive == 1 && later.databases[0]?.alive == 10)
    }

    @Test func `a hash is gone when the time of all its fields has passed`() throws {
        let server = try RedisServer(.valkey9)
        defer { server.remove() }
        let connection = try server.connect()
        try connection.command("HSET", "gone", "a", "1", "b", "2")
        try connection.command("HPEXPIRE", "gone", "50000000", "FIELDS", "2", "a", "b")
        try connection.command("HSET", "part", "a", "1", "b", "2")
        try connection.command("HPEXPIRE", "part", "50000000", "FIELDS", "1", "a")
        try connection.command("SET", "plain", "x")
        let bytes = try server.store().captureStreams().rdb
        let scanner = try scan(bytes)
        let time = try #require(scanner.auxiliary["ctime"].flatMap { UInt64($0) }) * 1000
        #expect(scanner.databases[0]?.keys == 3 && scanner.databases[0]?.alive == 3)
        for pieces in [1, 7, 1 << 20] {
            let later = try scan(bytes, pieces: pieces, now: time + 70_000_000)
            #expect(later.databases[0]?.keys == 3 && later.databases[0]?.alive == 2)
        }
    }

    @Test func `a file cut at any byte, or with one changed, never passes`() throws {
        let bytes = try Self.small(.redis7)
        for length in 0..<bytes.count {
            #expect(throws: RDBError.self, "cut at \(length)") { try scan(Array(bytes[..<length])) }
        }
        var random = SplitMix64(seed: 2)
        for position in 0..<bytes.count {
            var changed = bytes
            changed[position] ^= UInt8(1) << UInt8(random.next() % 8)
            #expect(throws: RDBError.self, "changed at \(position)") { try scan(changed, pieces: 777) }
        }
        #expect(throws: RDBError.trailing) { try scan(bytes + [10]) }
    }

    @Test func `any bytes at all end in an error, not in a trap`() throws {
        let bytes = try Self.small(.valkey9)
        var random = SplitMix64(seed: 3)
        for _ in 0..<3000 {
            var changed = bytes
            for _ in 0..<(1 + random.next() % 6) {
                changed[9 + Int(random.next() % UInt64(bytes.count - 9))] = UInt8(truncatingIfNeeded: random.next())
            }
            if changed == bytes { continue }
            #expect(throws: RDBError.self) { try scan(changed, pieces: Int(1 + random.next() % 500)) }
        }
    }

    @Test func `without a checksum it says so`() throws {
        let bytes = try Self.small(.redis7, settings: ["--rdbchecksum", "no"])
        #expect(bytes.suffix(8).allSatisfy { $0 == 0 })
        #expect(try scan(bytes).checksum == .disabled)
    }

    @Test(arguments: [1, 5, 64, 1 << 20])
    func `a kind of value from the future is not counted, its checksum is`(_ pieces: Int) throws {
        let bytes = try Self.small(.redis7)
        // The type of the first key, after the hint of the database's size.
        let hint = try #require(bytes.indices.first { bytes[$0] == 0xFB && bytes[$0 - 2] == 0xFE })
        var changed = bytes
        changed[hint + 3] = 77
        #expect(throws: RDBError.checksum) { try scan(changed, pieces: pieces) }
        var crc = CRC64()
        changed.dropLast(8).withUnsafeBytes { crc.update($0) }
        changed.replaceSubrange((changed.count - 8)..., with: (0..<8).map { UInt8(crc.value >> ($0 * 8) & 0xFF) })
        let scanner = try scan(changed, pieces: pieces)
        #expect(scanner.uncounted?.contains("77") == true && scanner.checksum == .verified)
        #expect(throws: RDBError.self) { try scan(changed.dropLast(), pieces: pieces) }
    }

    @Test func `what redis-check-rdb takes is what comes out, and the mark of redis-cli is noticed`() throws {
        let server = try RedisServer(.redis7)
        defer { server.remove() }
        try server.fill(seed: 4)
        let captured = try server.store().captureStreams()
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let runner = SystemProcessRunner()
        try captured.rdb.withUnsafeBytes { _ = try AtomicFile.write([$0], to: "\(folder.path)/a.rdb") }
        let check = try runner.run(ProcessCommand("redis-check-rdb", ["\(folder.path)/a.rdb"]))
        let said = String(decoding: check.standardOutput, as: UTF8.self)
        #expect(check.termination.succeeded && said.contains("RDB looks OK"))
        #expect(said.contains("\(captured.facts.keys.values.reduce(0, +)) keys read"))
        // `redis-cli --rdb -` leaves the end mark in its output.
        let client = try runner.run(
            ProcessCommand("redis-cli", ["-p", "\(server.port)", "--rdb", "-"]), input: [], outputLimit: 64 << 20,
            deadline: 60, cancellation: nil)
        #expect(client.termination.succeeded)
        #expect(throws: RDBError.trailing) { try scan(client.standardOutput) }
        #expect(try scan(Array(client.standardOutput.dropLast(40))).keys == captured.facts.keys.values.reduce(0, +))
    }
}
