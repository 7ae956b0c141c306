// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// A real Chroma server with a folder of its own.
package struct ChromaServer: Sendable {
    package static let wheel = "chromadb==1.5.9"
    /// True where the server is there, and in CI, where a missing one has to fail.
    package static var shouldRun: Bool { WheelServer.wheel(wheel) != nil || getenv("CI") != nil }
    package static let skipReason = "needs a Chroma server (scripts/setup)"

    package let server: WheelServer

    /// `data` nil: a folder of its own.
    package init(data: String? = nil) throws {
        server = try WheelServer(
            wheel: Self.wheel,
            [
                "-c", "import sys, chromadb_rust_bindings as b; b.cli(['chroma'] + sys.argv[1:])", "run", "--path",
                "{data}",
                "--host", "127.0.0.1", "--port", "{port}",
            ], readyPath: "/api/v2/heartbeat", data: data)
    }

    package func remove() { server.remove() }

    package static func databases(_ tenant: String = "default_tenant") -> String {
        "/api/v2/tenants/\(tenant)/databases"
    }

    package static func collections(_ database: String = "default_database") -> String {
        "\(databases())/\(database)/collections"
    }

    /// Creates a collection; its id.
    package func create(
        _ name: String, database: String = "default_database", space: String = "l2", metadata: String = "null",
        syncThreshold: Int = 1000
    ) throws -> String {
        let created = try server.call(
            "POST", Self.collections(database),
            #"{"name":"\#(name)","metadata":\#(metadata),"configuration":{"hnsw":{"space":"\#(space)","ef_construction":77,"#
                + #""sync_threshold":\#(syncThreshold)}}}"#)
        guard let id = created.value(at: "id")?.text else { throw LifeboatError("no collection") }
        return id
    }

    package func id(_ name: String, database: String = "default_database") throws -> String {
        guard let id = try server.call("GET", "\(Self.collections(database))/\(name)").value(at: "id")?.text else {
            throw LifeboatError("no collection '\(name)'")
        }
        return id
    }

    /// Records with every kind of metadata, with documents and uris or without.
    package func fill(
        _ name: String, _ range: Range<Int>, database: String = "default_database", size: Int = 16, seed: UInt64 = 1
    ) throws {
        let id = try id(name, database: database)
        var random = SplitMix64(seed: seed &+ UInt64(range.lowerBound))
        for start in stride(from: range.lowerBound, to: range.upperBound, by: 1000) {
            let numbers = start..<min(start + 1000, range.upperBound)
            let vectors = numbers.map { _ in
                "["
                    + (0..<size).map { _ in "\(Float(Int64(bitPattern: random.next()) >> 34) / 1_234_567)" }
                    .joined(separator: ",") + "]"
            }
            let documents = numbers.map { $0 % 3 == 0 ? "null" : #""document \#($0) \"ü\" \u0001""# }
            let uris = numbers.map { $0 % 5 == 0 ? "\"s3://bucket/\($0)\"" : "null" }
            let metadata = numbers.map { number in
                number % 7 == 0
                    ? "null"
                    : #"{"i":\#(number),"f":\#(number).0,"big":9007199254740993,"tiny":1e-300,"b":\#(number % 2 == 0),"#
                        + #""t":"a\"b\\ü","li":[1,2],"lf":[1.0,2.5],"lt":["x"]}"#
            }
            try server.call(
                "POST", "\(Self.collections(database))/\(id)/add",
                #"{"ids":[\#(numbers.map { #""record-\#($0)""# }.joined(separator: ","))],"#
                    + #""embeddings":[\#(vectors.joined(separator: ","))],"documents":[\#(documents.joined(separator: ","))],"#
                    + #""uris":[\#(uris.joined(separator: ","))],"metadatas":[\#(metadata.joined(separator: ","))]}"#)
        }
    }

    package func deleteRecord(_ name: String, _ number: Int, database: String = "default_database") throws {
        let id = try id(name, database: database)
        try server.call("POST", "\(Self.collections(database))/\(id)/delete", #"{"ids":["record-\#(number)"]}"#)
    }

    package func count(_ name: String, database: String = "default_database") throws -> Int {
        Int(try server.text("GET", "\(Self.collections(database))/\(try id(name, database: database))/count")) ?? -1
    }

    /// Every record as a line, with metadata in one order, each number as the server writes it.
    package func everything(_ name: String, database: String = "default_database") throws -> [String] {
        let id = try id(name, database: database)
        let text = try server.text(
            "POST", "\(Self.collections(database))/\(id)/get",
            #"{"limit":1000000,"include":["documents","metadatas","embeddings","uris"]}"#)
        // Python's JSON, not ours: it tells 1 from 1.0 as well.
        let result = try SystemProcessRunner().run(
            ProcessCommand(
                "python3",
                [
                    "-c",
                    """
                    import json, sys
                    d = json.load(sys.stdin)
                    for row in zip(*[d[k] for k in ("ids", "embeddings", "documents", "uris", "metadatas")]):
                        print(json.dumps(row, sort_keys=True))
                    """,
                ]), input: Array(text.utf8), outputLimit: 256 << 20, deadline: 120, cancellation: nil)
        return String(decoding: result.standardOutput, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    package func collections(_ database: String = "default_database") throws -> [String] {
        guard case .array(let items) = try server.call("GET", Self.collections(database)) else { return [] }
        return items.compactMap { $0.value(at: "name")?.text }.sorted()
    }

    package func createDatabase(_ name: String) throws {
        try server.call("POST", Self.databases(), #"{"name":"\#(name)"}"#)
    }

    package func databases() throws -> [String] {
        guard case .array(let items) = try server.call("GET", Self.databases()) else { return [] }
        return items.compactMap { $0.value(at: "name")?.text }.sorted()
    }
}
