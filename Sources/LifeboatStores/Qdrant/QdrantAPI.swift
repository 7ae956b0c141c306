// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatHTTP
import LifeboatIO

/// The calls of Qdrant's REST interface that lifeboat uses. Names of collections are given as they are.
struct QdrantAPI: Sendable {
    let client: RESTClient

    /// Snapshot of a collection as the server lists it.
    struct Snapshot: Codable, Sendable, Equatable {
        var name: String
        var size: UInt64
        /// SHA-256 in lower-case hexadecimal; nil where the server does not have it any more.
        var checksum: String?
    }

    private struct Envelope<Result: Decodable>: Decodable {
        var result: Result
    }

    private func result<Result: Decodable>(
        _ type: Result.Type, _ method: HTTPMethod, _ path: String, _ purpose: String, json: [UInt8]? = nil,
        stall: Double = 60, cancellation: Cancellation? = nil
    ) throws -> Result {
        let response = try client.call(method, path, purpose, json: json, stall: stall, cancellation: cancellation)
        return try client.decode(Envelope<Result>.self, response.body, purpose).result
    }

    private static func path(_ collection: String, _ rest: String = "") -> String {
        "/collections/\(RESTClient.escaped(collection))\(rest)"
    }

    private static func path(_ collection: String, snapshot: String) -> String {
        path(collection, "/snapshots/\(RESTClient.escaped(snapshot))")
    }

    // MARK: Server

    func version(_ cancellation: Cancellation? = nil) throws -> QdrantVersion {
        struct Root: Decodable { var version: String }
        let purpose = "ask for the version"
        let response = try client.call(.get, "/", purpose, cancellation: cancellation)
        let text = try client.decode(Root.self, response.body, purpose).version
        guard let version = QdrantVersion(text) else {
            throw RESTError.malformed(client.endpoint.subject, purpose, "'\(text.prefix(40))' is no version")
        }
        return version
    }

    func collections(_ cancellation: Cancellation? = nil) throws -> [String] {
        struct List: Decodable {
            struct Entry: Decodable { var name: String }
            var collections: [Entry]
        }
        return try result(
            List.self, .get, "/collections", "list the collections", cancellation: cancellation
        ).collections.map(\.name).sorted()
    }

    /// What each alias points to.
    func aliases(_ cancellation: Cancellation? = nil) throws -> [String: String] {
        struct List: Decodable {
            struct Entry: Decodable {
                var alias: String
                var collection: String

                private enum CodingKeys: String, CodingKey {
                    case alias = "alias_name"
                    case collection = "collection_name"
                }
            }
            var aliases: [Entry]
        }
        let list = try result(List.self, .get, "/aliases", "list the aliases", cancellation: cancellation)
        return Dictionary(list.aliases.map { ($0.alias, $0.collection) }) { first, _ in first }
    }

    /// One change of an alias; nil as target removes it.
    struct AliasChange {
        var alias: String
        /// Whether it is there now.
        var exists: Bool
        var target: String?
    }

    /// All changes at once: the server applies the whole list or nothing.
    func change(_ changes: [AliasChange]) throws {
        var actions: [JSONValue] = []
        for change in changes {
            if change.exists {
                actions.append(.object(["delete_alias": .object(["alias_name": .string(change.alias)])]))
            }
            if let target = change.target {
                actions.append(
                    .object([
                        "create_alias": .object([
                            "collection_name": .string(target), "alias_name": .string(change.alias),
                        ])
                    ]))
            }
        }
        if actions.isEmpty { return }
        _ = try client.call(
            .post, "/collections/aliases", "move the aliases", json: try JSONText.encode(["actions": actions]))
    }

    /// How many servers make up the cluster; 1 for a server by itself.
    func peers() throws -> Int {
        struct Cluster: Decodable { var peers: [String: JSONValue]? }
        return max(1, try result(Cluster.self, .get, "/cluster", "look at the cluster").peers?.count ?? 1)
    }

    // MARK: Collections

    /// What a collection is: its settings, and the fields of the payload that are indexed.
    struct Description: Decodable, Sendable {
        private struct Field: Decodable, Sendable {
            var type: String
            private enum CodingKeys: String, CodingKey { case type = "data_type" }
        }

        var status: String
        var config: JSONValue
        private var schema: [String: Field]?

        private enum CodingKeys: String, CodingKey {
            case status, config
            case schema = "payload_schema"
        }

        /// Types of indexed fields by their names.
        var fields: [String: String] { (schema ?? [:]).mapValues(\.type) }
    }

    func describe(_ collection: String, _ cancellation: Cancellation? = nil) throws -> Description {
        try result(
            Description.self, .get, Self.path(collection), "look at collection '\(collection)'",
            cancellation: cancellation)
    }

    /// Points of a collection or of what an alias points to, counted one by one.
    func count(_ collection: String, _ cancellation: Cancellation? = nil) throws -> Int64 {
        struct Count: Decodable { var count: Int64 }
        return try result(
            Count.self, .post, Self.path(collection, "/points/count"), "count the points in '\(collection)'",
            json: Array(#"{"exact":true}"#.utf8), stall: RESTClient.longStall, cancellation: cancellation
        ).count
    }

    /// A point without its payload.
    struct Point: Decodable, Sendable {
        var id: JSONValue
        private var vector: JSONValue?

        /// Its vectors by their names; nil is the name of the only one.
        var vectors: [(using: String?, vector: JSONValue)] {
            switch vector {
            case .array(let numbers)? where !numbers.isEmpty: [(nil, .array(numbers))]
            case .object(let named)?:
                named.sorted { $0.key < $1.key }.filter { !Self.isEmpty($0.value) }.map { ($0.key, $0.value) }
            default: []
            }
        }

        /// Also a sparse vector without a value.
        private static func isEmpty(_ vector: JSONValue) -> Bool {
            switch vector {
            case .array(let numbers): numbers.isEmpty
            case .object(let sparse): sparse["indices"] == .array([])
            default: true
            }
        }
    }

    /// Points by their ids, from this one on.
    func scroll(
        _ collection: String, from: JSONValue?, limit: Int, withVectors: Bool, _ cancellation: Cancellation?
    ) throws -> [Point] {
        struct Page: Decodable { var points: [Point] }
        var body: [String: JSONValue] = [
            "limit": .integer(Int64(limit)), "with_payload": .bool(false), "with_vector": .bool(withVectors),
        ]
        body["offset"] = from
        return try result(
            Page.self, .post, Self.path(collection, "/points/scroll"), "list the points in '\(collection)'",
            json: try JSONText.encode(body), stall: RESTClient.longStall, cancellation: cancellation
        ).points
    }

    /// What a search found.
    struct Hit: Decodable, Sendable {
        var id: JSONValue
        var score: Double
    }

    /// A search for the nearest of a vector; `using` names it where there are several.
    struct Search: Sendable {
        var vector: JSONValue
        var using: String?
        var limit: Int

        /// For `/points/query`, which servers have since 1.10.
        func query(isExact: Bool) -> [String: JSONValue] {
            var body = rest(isExact)
            body["query"] = vector
            body["using"] = using.map { .string($0) }
            return body
        }

        /// For `/points/search` of older servers.
        func search(isExact: Bool) -> [String: JSONValue] {
            var body = rest(isExact)
            body["vector"] = using.map { .object(["name": .string($0), "vector": vector]) } ?? vector
            return body
        }

        private func rest(_ isExact: Bool) -> [String: JSONValue] {
            ["limit": .integer(Int64(limit)), "params": .object(["exact": .bool(isExact)])]
        }
    }

    /// Nearest first. `isExact`: all vectors are looked at, not the index.
    func nearest(
        _ collection: String, _ search: Search, isExact: Bool, _ cancellation: Cancellation?
    ) throws -> [Hit] {
        struct Answer: Decodable { var points: [Hit] }
        let purpose = "search in '\(collection)'"
        guard try version(cancellation) >= QdrantVersion(major: 1, minor: 10, patch: 0) else {
            return try result(
                [Hit].self, .post, Self.path(collection, "/points/search"), purpose,
                json: try JSONText.encode(search.search(isExact: isExact)), stall: RESTClient.longStall,
                cancellation: cancellation)
        }
        return try result(
            Answer.self, .post, Self.path(collection, "/points/query"), purpose,
            json: try JSONText.encode(search.query(isExact: isExact)), stall: RESTClient.longStall,
            cancellation: cancellation
        ).points
    }

    /// Shards of a collection that other servers of a cluster hold.
    func remoteShards(_ collection: String, _ cancellation: Cancellation? = nil) throws -> Int {
        struct Cluster: Decodable {
            var shards: [JSONValue]
            private enum CodingKeys: String, CodingKey { case shards = "remote_shards" }
        }
        return try result(
            Cluster.self, .get, Self.path(collection, "/cluster"), "look at the shards of '\(collection)'",
            cancellation: cancellation
        ).shards.count
    }

    /// False: there was none of that name.
    @discardableResult
    func delete(_ collection: String) throws -> Bool {
        guard try collections().contains(collection) else { return false }
        return try result(
            Bool.self, .delete, Self.path(collection), "delete collection '\(collection)'",
            stall: RESTClient.longStall)
    }

    /// An empty collection that only has to exist.
    func createEmpty(_ collection: String) throws {
        _ = try client.call(
            .put, Self.path(collection), "create collection '\(collection)'",
            json: Array(#"{"vectors":{"size":1,"distance":"Dot"}}"#.utf8))
    }

    // MARK: Snapshots

    /// Ends when the snapshot is whole on the server; a request that is cut off does not stop the server.
    func createSnapshot(_ collection: String, _ cancellation: Cancellation?) throws -> Snapshot {
        try result(
            Snapshot.self, .post, Self.path(collection, "/snapshots?wait=true"),
            "make a snapshot of collection '\(collection)'", stall: RESTClient.longStall, cancellation: cancellation)
    }

    /// The snapshots of a collection, and what time it is on the server.
    func snapshots(_ collection: String) throws -> (list: [Snapshot], serverTime: Int64?) {
        let purpose = "list the snapshots of collection '\(collection)'"
        let response = try client.call(.get, Self.path(collection, "/snapshots"), purpose)
        let list = try client.decode(Envelope<[Snapshot]>.self, response.body, purpose).result
        return (list, response.header("date").flatMap(QdrantTime.httpDate))
    }

    /// A snapshot that is gone, with its collection or without, is fine.
    func deleteSnapshot(_ collection: String, _ snapshot: String) throws {
        _ = try client.call(
            .delete, Self.path(collection, snapshot: snapshot), "delete snapshot '\(snapshot)'", accepting: [404],
            stall: 600)
    }

    /// The bytes of a snapshot; the end comes only when all `size` bytes came and have the checksum, and `atEnd` ran.
    func download(
        _ collection: String, _ snapshot: Snapshot, _ cancellation: Cancellation?,
        atEnd: @escaping () throws -> Void = {}
    ) throws -> any ByteSource {
        let path = Self.path(collection, snapshot: snapshot.name)
        let client = client
        let source = DownloadSource(name: "qdrant-snapshot") { sink in
            // Nothing asks for compression: length and checksum are those of the file.
            try client.download(
                try client.request(.get, path, stall: 120), "download snapshot '\(snapshot.name)'",
                cancellation: cancellation, into: sink)
        }
        return CheckedSource(
            source, size: snapshot.size, sha256: snapshot.checksum,
            "snapshot '\(snapshot.name)' of \(client.endpoint.subject)", atEnd: atEnd)
    }

    /// Makes or replaces a collection by a snapshot, which the server checks against the checksum. The file stays in the
    /// server's snapshots folder of that collection, whatever becomes of the call, as `file`.
    ///
    /// Once everything is sent the server loads it whether somebody waits or not: a cancellation is seen before that,
    /// so that what comes after the call knows what there is.
    func upload(
        _ source: any ByteSource, size: UInt64, sha256: String?, as file: String, to collection: String,
        _ cancellation: Cancellation?
    ) throws {
        let body = MultipartBody(source, size: size, name: "snapshot", file: file)
        let request = try client.request(
            .post,
            Self.path(collection, "/snapshots/upload?wait=true&priority=snapshot")
                + (sha256.map { "&checksum=\(RESTClient.escaped($0))" } ?? ""),
            body: .stream(length: body.length) { buffer in
                try cancellation?.check()
                return try body.read(into: buffer)
            }, type: body.contentType, stall: RESTClient.longStall)
        // On a connection of its own: one that waited and turns out to be dead cannot be made up for, since the stream
        // is read once.
        _ = try RESTClient(client.endpoint).send(request, "load a snapshot into collection '\(collection)'")
    }
}
