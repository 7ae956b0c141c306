// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatStores
import LifeboatTesting

/// What a capture gave, in memory.
struct CapturedStreams: RestoreContent {
    var engineVersion: String?
    var facts: StoreFacts
    var streams: [String: [UInt8]]

    func openStream(_ name: String) throws -> any ByteSource {
        guard let bytes = streams[name] else { throw LifeboatError("no stream '\(name)'") }
        return ArraySource(bytes)
    }

    func streamSize(_ name: String) -> UInt64? { streams[name].map { UInt64($0.count) } }

    func extractTree(_ name: String, into target: any FileTreeTarget, cancellation: Cancellation) throws {
        throw LifeboatError("no tree '\(name)'")
    }

    var rdb: [UInt8] { streams["rdb"] ?? [] }
}

extension DataStore {
    /// Captures everything; `during` runs after the point in time was fixed, `method` hears how it was done.
    func captureStreams(
        method hear: (String) -> Void = { _ in }, during: (() throws -> Void)? = nil
    ) throws -> CapturedStreams {
        let version = try probe().engineVersion
        let point = try fixPoint(Cancellation())
        defer { point.release() }
        hear(point.method)
        try during?()
        var streams: [String: [UInt8]] = [:]
        for part in point.parts {
            if case .stream(let name, let open) = part { streams[name] = try CapturedContent.readAll(try open()) }
        }
        return CapturedStreams(engineVersion: version, facts: try point.facts(), streams: streams)
    }

    /// Everything up to the swap.
    func stageStreams(_ content: any RestoreContent, _ restoreID: String) throws -> StagedState {
        let state = try planStaging(restoreID)
        try stage(content, state, progress: SilentProgress(), cancellation: Cancellation())
        return state
    }
}

extension RedisServer {
    func store(
        user: String? = nil, password: Secret? = nil, container: ServerContainer? = nil,
        options: RedisStore.Options = RedisStore.Options()
    ) -> RedisStore {
        var endpoint = endpoint
        endpoint.user = user
        if let password { endpoint.password = password }
        return RedisStore(endpoint, container: container, options: options)
    }

    /// Values of every type and encoding, in several databases, some with a time to live; different for each `seed`.
    func fill(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let connection = try connect()
        func text(_ length: Int) -> String {
            var text = ""
            while text.utf8.count < length { text += String(random.next(), radix: 36) }
            return text
        }
        try connection.command("SET", "number", "\(seed)")
        try connection.command("SET", "large number", "\(Int64.max - Int64(seed))")
        try connection.command("SET", "text", text(60))
        try connection.command("SET", "packed", String(repeating: "abc ", count: 5000))
        try connection.command("SET", "big", text(3 << 20))
        try connection.command("SETBIT", "bits", "\(40_000 + seed)", "1")
        try connection.command(["PFADD", "cardinality"] + (0..<500).map { "element \($0) \(seed)" })
        try connection.command(["RPUSH", "short list"] + (0..<20).map { "item \($0 &* Int(seed))" })
        try connection.command(["RPUSH", "long list"] + (0..<6000).map { "\($0):\(text(10))" } + [text(40_000)])
        try connection.command(["SADD", "numbers"] + (0..<100).map { "\($0 * 7 + Int(seed))" })
        try connection.command(["SADD", "small set"] + (0..<20).map { "member \($0) \(seed)" })
        try connection.command(["SADD", "large set"] + (0..<2000).map { _ in text(20) })
        try connection.command(["ZADD", "ranks"] + (0..<30).flatMap { ["\(Double($0) / 3)", "r\($0)"] })
        try connection.command(["ZADD", "many ranks"] + (0..<1500).flatMap { ["\($0).5", text(12)] })
        try connection.command(
            "GEOADD", "places", "13.361389", "38.115556", "Palermo", "15.087269", "37.502669", "Catania")
        try connection.command(["HSET", "small hash"] + (0..<10).flatMap { ["f\($0)", "\(seed)"] })
        try connection.command(["HSET", "large hash"] + (0..<1000).flatMap { ["field \($0)", text(30)] })
        for number in 1...300 {
            try connection.command("XADD", "log", "\(number)-1", "event", "e\(number)", "seed", "\(seed)")
        }
        try connection.command("XDEL", "log", "7-1")
        try connection.command("XGROUP", "CREATE", "log", "workers", "0")
        try connection.command("XREADGROUP", "GROUP", "workers", "ann", "COUNT", "20", "STREAMS", "log", ">")
        try connection.command("XREADGROUP", "GROUP", "workers", "bob", "COUNT", "5", "STREAMS", "log", ">")
        try connection.command("XACK", "log", "workers", "1-1", "2-1")
        try connection.command("XGROUP", "CREATE", "log", "idle", "$")
        if engine == .valkey9 {
            try connection.command("HSET", "fields with a time", "a", "1", "b", text(100))
            try connection.command("HEXPIRE", "fields with a time", "3600", "FIELDS", "1", "a")
        }
        if engine != .redis6 {
            try connection.command(
                "FUNCTION", "LOAD", "REPLACE",
                "#!lua name=library\nredis.register_function('f', function() return \(seed) end)")
        }
        try connection.command("SELECT", "3")
        for number in 0..<200 {
            try connection.command("SET", "session \(number)", text(20), "PX", "\(3_600_000 + number)")
        }
        try connection.command("SELECT", "15")
        try connection.command("SET", "alone", text(5))
    }

    /// Keys by database, as the server counts them.
    func keys() throws -> [Int: Int64] { try connect().info().keys }
}

extension StoreFacts {
    /// Keys by database, as the capture counted them.
    var keys: [Int: Int64] {
        var keys: [Int: Int64] = [:]
        for (name, count) in counts where name.hasPrefix("keys:db") {
            if let number = Int(name.dropFirst(7)) { keys[number] = count }
        }
        return keys
    }
}

/// Bytes handed out in pieces of that size.
final class PiecewiseSource: ByteSource {
    private let bytes: [UInt8]
    private let size: Int
    private var position = 0
    init(_ bytes: [UInt8], pieces size: Int) {
        self.bytes = bytes
        self.size = size
    }
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let count = min(buffer.count, size, bytes.count - position)
        buffer.copyBytes(from: bytes[position..<position + count])
        position += count
        return count
    }
    func close() {}
}
