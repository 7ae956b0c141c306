// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatIO

/// The real Qdrant engine behind the stand-in of `fixtures/qdrant-stand-in`, whose README says what that is.
package struct QdrantStandIn: Sendable {
    package static let wheel = "qdrant-edge-py==0.9.0"
    /// True where the engine is there, and in CI, where a missing one has to fail.
    package static var shouldRun: Bool { WheelServer.wheel(wheel) != nil || getenv("CI") != nil }
    package static let skipReason = "needs the Qdrant engine (scripts/setup)"

    package let server: WheelServer
    package let key: Secret?

    /// `data` nil: a folder of its own.
    package init(
        key: Secret? = nil, version: String = "1.19.0", peers: Int = 1, data: String? = nil, script: String? = nil
    ) throws {
        let root = #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
        var arguments = [
            script ?? "/\(root)/fixtures/qdrant-stand-in/qdrant_stand_in.py", "--port", "{port}", "--storage", "{data}",
            "--version", version, "--peers", "\(peers)",
        ]
        key?.reveal { arguments += ["--api-key", $0] }
        self.key = key
        server = try WheelServer(
            wheel: Self.wheel, arguments, readyPath: "/readyz", key: key.map { ("api-key", $0) }, data: data)
    }

    package func remove() { server.remove() }

    /// Makes it misbehave, as its README says; `{}` ends that.
    package func faults(_ object: String) throws { try server.call("PUT", "/stand-in/faults", object) }

    package func create(_ collection: String, size: Int = 8, distance: String = "Dot") throws {
        try server.call(
            "PUT", "/collections/\(collection)", #"{"vectors":{"size":\#(size),"distance":"\#(distance)"}}"#)
    }

    /// Points with ids `range`, vectors by chance, payloads with every kind of value.
    package func fill(_ collection: String, _ range: Range<Int>, size: Int = 8, seed: UInt64 = 1) throws {
        var random = SplitMix64(seed: seed)
        for start in stride(from: range.lowerBound, to: range.upperBound, by: 500) {
            let points = (start..<min(start + 500, range.upperBound)).map { id in
                let vector = (0..<size).map { _ in "\(Float(Int64(bitPattern: random.next()) >> 40) / 65_536)" }
                let payload =
                    #"{"i":\#(id),"f":\#(id).0,"big":9007199254740993,"t":"ü \#(id)","b":\#(id % 2 == 0),"l":[1,"a",null],"#
                    + #""o":{"k":1.5}}"#
                return #"{"id":\#(id),"vector":[\#(vector.joined(separator: ","))],"payload":\#(payload)}"#
            }
            try server.call(
                "PUT", "/collections/\(collection)/points?wait=true", #"{"points":[\#(points.joined(separator: ","))]}"#
            )
        }
    }

    /// Every point with payload and vector, as the server's own text, which is deterministic.
    package func everything(_ collection: String) throws -> String {
        try server.text(
            "POST", "/collections/\(collection)/points/scroll",
            #"{"limit":1000000,"with_payload":true,"with_vector":true}"#)
    }

    /// Numbers of all points, ascending.
    package func ids(_ collection: String) throws -> [Int64] {
        guard
            case .array(let points)? = try server.call(
                "POST", "/collections/\(collection)/points/scroll", #"{"limit":1000000}"#
            ).value(at: "result.points")
        else { throw LifeboatError("no points") }
        return points.compactMap { if case .integer(let id)? = $0.value(at: "id") { id } else { nil } }.sorted()
    }

    package func count(_ collection: String) throws -> Int64 {
        guard
            case .integer(let count)? = try server.call(
                "POST", "/collections/\(collection)/points/count", #"{"exact":true}"#
            ).value(at: "result.count")
        else { throw LifeboatError("no count") }
        return count
    }

    package func collections() throws -> [String] {
        guard case .array(let items)? = try server.call("GET", "/collections").value(at: "result.collections") else {
            return []
        }
        return items.compactMap { $0.value(at: "name")?.text }.sorted()
    }

    package func aliases() throws -> [String: String] {
        guard case .array(let items)? = try server.call("GET", "/aliases").value(at: "result.aliases") else {
            return [:]
        }
        var aliases: [String: String] = [:]
        for item in items {
            if let alias = item.value(at: "alias_name")?.text {
                aliases[alias] = item.value(at: "collection_name")?.text
            }
        }
        return aliases
    }

    package func alias(_ name: String, to collection: String) throws {
        try server.call(
            "POST", "/collections/aliases",
            #"{"actions":[{"create_alias":{"collection_name":"\#(collection)","alias_name":"\#(name)"}}]}"#)
    }

    /// Files in the snapshots folders and unfinished work: what nobody asked the server to keep.
    package func leftovers() throws -> [String] {
        let result = try SystemProcessRunner().run(
            ProcessCommand(
                "find", ["\(server.data)/snapshots", "\(server.data)/tmp", "-mindepth", "1", "!", "-type", "d"]))
        return result.trimmed.split(separator: "\n").map(String.init)
    }
}
