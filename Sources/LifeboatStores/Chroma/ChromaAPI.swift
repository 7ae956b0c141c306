// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatHTTP

/// The calls of Chroma's REST interface, version 2, that lifeboat uses, for one tenant.
struct ChromaAPI: Sendable {
    let client: RESTClient
    let tenant: String

    /// Pages of lists of databases and collections.
    private static let listPage = 500

    private var base: String { "/api/v2/tenants/\(RESTClient.escaped(tenant))" }

    private func path(_ database: String, _ rest: String) -> String {
        "\(base)/databases/\(RESTClient.escaped(database))/collections\(rest)"
    }

    // MARK: Server

    struct Limits: Decodable, Sendable {
        /// Records one call may add.
        var maximumBatch: Int
        /// Vectors may be sent as base64 of little-endian 32-bit floats.
        var takesBase64: Bool?

        private enum CodingKeys: String, CodingKey {
            case maximumBatch = "max_batch_size"
            case takesBase64 = "supports_base64_encoding"
        }
    }

    /// Throws for a server without version 2 of the interface.
    func limits(_ cancellation: Cancellation? = nil) throws -> Limits {
        let purpose = "ask for the limits"
        let response = try client.call(.get, "/api/v2/pre-flight-checks", purpose, cancellation: cancellation)
        return try client.decode(Limits.self, response.body, purpose)
    }

    /// The release the server reports, as people should read it. All servers of the 1.x line say `1.0.0`, whatever they
    /// are: that tells the line and no release.
    func release(_ cancellation: Cancellation? = nil) throws -> String {
        let version = try version(cancellation)
        return version == "1.0.0" ? "1.x" : version
    }

    /// The version the server reports; servers of the 1.x line all say `1.0.0`.
    func version(_ cancellation: Cancellation? = nil) throws -> String {
        let purpose = "ask for the version"
        let response = try client.call(.get, "/api/v2/version", purpose, cancellation: cancellation)
        return try client.decode(String.self, response.body, purpose)
    }

    private struct Named: Decodable { var name: String }

    /// Throws when there is no such tenant: the server lists no databases for it all the same.
    func databases(_ cancellation: Cancellation? = nil) throws -> [String] {
        _ = try client.call(.get, base, "find tenant '\(tenant)'", cancellation: cancellation)
        let purpose = "list the databases"
        var names: Set<String> = []
        var offset = 0
        while true {
            let response = try client.call(
                .get, "\(base)/databases?limit=\(Self.listPage)&offset=\(offset)", purpose, cancellation: cancellation)
            let page = try client.decode([Named].self, response.body, purpose)
            names.formUnion(page.map(\.name))
            guard page.count == Self.listPage else { return names.sorted() }
            offset += page.count
        }
    }

    func hasTenant() throws -> Bool {
        try client.call(.get, base, "find tenant '\(tenant)'", accepting: [404]).isSuccess
    }

    /// One that is there is fine.
    func createTenant() throws {
        if try hasTenant() { return }
        _ = try client.call(
            .post, "/api/v2/tenants", "create tenant '\(tenant)'", json: try JSONText.encode(["name": tenant]))
    }

    func hasDatabase(_ database: String) throws -> Bool {
        let response = try client.call(
            .get, "\(base)/databases/\(RESTClient.escaped(database))", "find database '\(database)'",
            accepting: [404])
        return response.isSuccess
    }

    func createDatabase(_ database: String) throws {
        _ = try client.call(
            .post, "\(base)/databases", "create database '\(database)'", json: try JSONText.encode(["name": database]))
    }

    /// With all that is in it.
    func deleteDatabase(_ database: String) throws {
        _ = try client.call(
            .delete, "\(base)/databases/\(RESTClient.escaped(database))", "delete database '\(database)'",
            accepting: [404])
    }

    // MARK: Collections

    struct Collection: Sendable, Equatable {
        var id: String
        var name: String
        /// Nil: nothing was ever added.
        var dimension: Int?
        /// As the server wrote them, members sorted; nil for null.
        var metadata: [UInt8]?
        var configuration: [UInt8]?
        /// Which keys of metadata are indexed, and how; nil: the server knows none.
        var schema: [UInt8]?
    }

    func collections(_ database: String, _ cancellation: Cancellation? = nil) throws -> [Collection] {
        let purpose = "list the collections of database '\(database)'"
        var all: [Collection] = []
        while true {
            let response = try client.call(
                .get, path(database, "?limit=\(Self.listPage)&offset=\(all.count)"), purpose, bodyLimit: 64 << 20,
                cancellation: cancellation)
            var page: [Collection] = []
            do {
                var scanner = JSONScanner(response.body)
                try scanner.array { page.append(try Self.collection(&$0, response.body)) }
            } catch {
                throw RESTError.malformed(client.endpoint.subject, purpose, "\(error)")
            }
            all += page
            guard page.count == Self.listPage else { break }
        }
        // A list that moves under its reader may show one twice.
        var ids: Set<String> = []
        return all.filter { ids.insert($0.id).inserted }.sorted { $0.name < $1.name }
    }

    private static func collection(_ scanner: inout JSONScanner, _ bytes: [UInt8]) throws -> Collection {
        var collection = Collection(id: "", name: "")
        try scanner.object { key, scanner in
            switch key {
            case "id": collection.id = try scanner.string()
            case "name": collection.name = try scanner.string()
            case "dimension":
                let range = try scanner.value()
                collection.dimension = Int(String(decoding: bytes[range], as: UTF8.self))
            case "metadata": collection.metadata = try Self.raw(&scanner, bytes)
            case "configuration_json": collection.configuration = try Self.raw(&scanner, bytes, withoutNulls: true)
            case "schema": collection.schema = try Self.raw(&scanner, bytes)
            default: _ = try scanner.value()
            }
        }
        guard !collection.id.isEmpty, !collection.name.isEmpty else {
            throw JSONScanError(reason: "a collection without id or name", offset: scanner.position)
        }
        return collection
    }

    /// A value as it is written, nil for null. `withoutNulls` leaves out the members of an object that are null: the
    /// server writes them, and refuses to read them.
    private static func raw(
        _ scanner: inout JSONScanner, _ bytes: [UInt8], withoutNulls: Bool = false
    ) throws -> [UInt8]? {
        let range = try scanner.value()
        let canonical = try JSONScanner.canonical(bytes, range)
        guard canonical != Array("null".utf8) else { return nil }
        guard withoutNulls else { return canonical }
        var members: [[UInt8]] = []
        var object = JSONScanner(canonical)
        try object.object { key, scanner in
            let value = Array(canonical[try scanner.value()])
            if value != Array("null".utf8) { members.append(JSONScanner.quoted(key) + [UInt8(ascii: ":")] + value) }
        }
        return [UInt8(ascii: "{")] + Array(members.joined(separator: [UInt8(ascii: ",")])) + [UInt8(ascii: "}")]
    }

    func collection(_ database: String, named name: String) throws -> Collection? {
        let purpose = "look at collection '\(name)'"
        let response = try client.call(
            .get, path(database, "/\(RESTClient.escaped(name))"), purpose, accepting: [404])
        guard response.isSuccess else { return nil }
        do {
            var scanner = JSONScanner(response.body)
            return try Self.collection(&scanner, response.body)
        } catch {
            throw RESTError.malformed(client.endpoint.subject, purpose, "\(error)")
        }
    }

    /// The id of a new collection. A collection of that name is an error.
    func create(
        _ database: String, _ name: String, metadata: [UInt8]?, configuration: [UInt8]?, schema: [UInt8]? = nil
    ) throws -> String {
        var body = Array(#"{"name":"#.utf8) + JSONScanner.quoted(name)
        if let metadata { body += Array(#","metadata":"#.utf8) + metadata }
        if let configuration { body += Array(#","configuration":"#.utf8) + configuration }
        if let schema { body += Array(#","schema":"#.utf8) + schema }
        body.append(UInt8(ascii: "}"))
        struct Created: Decodable { var id: String }
        let purpose = "create collection '\(name)'"
        let response = try client.call(.post, path(database, ""), purpose, json: body)
        return try client.decode(Created.self, response.body, purpose).id
    }

    func rename(_ database: String, _ id: String, to name: String) throws {
        _ = try client.call(
            .put, path(database, "/\(id)"), "rename a collection to '\(name)'",
            json: try JSONText.encode(["new_name": name]))
    }

    /// One that is gone is fine. Its records go first, for Chroma 1.5.9 forgets the lists in their metadata when it deletes
    /// a collection as a whole, and finds them again in records that are added later.
    func delete(_ database: String, named name: String) throws {
        guard let collection = try collection(database, named: name) else { return }
        struct Answer: Decodable { var ids: [String] }
        var last: [String] = []
        while true {
            let answer = try get(database, collection.id, offset: 0, limit: 1000, include: [])
            let ids = try client.decode(Answer.self, answer, "read the records of a collection").ids
            // What does not go one by one goes as a whole.
            if ids.isEmpty || ids == last { break }
            last = ids
            _ = try client.call(
                .post, path(database, "/\(collection.id)/delete"), "delete records of collection '\(name)'",
                json: try JSONText.encode(["ids": ids]), stall: 600)
        }
        _ = try client.call(
            .delete, path(database, "/\(RESTClient.escaped(name))"), "delete collection '\(name)'", accepting: [404],
            stall: 600)
    }

    // MARK: Records

    func count(_ database: String, _ id: String, _ cancellation: Cancellation? = nil) throws -> Int64 {
        let purpose = "count the records of a collection"
        let response = try client.call(
            .get, path(database, "/\(id)/count"), purpose, stall: 600, cancellation: cancellation)
        return try client.decode(Int64.self, response.body, purpose)
    }

    /// The answer to `get`, as it came: records in the order in which they were first added.
    func get(
        _ database: String, _ id: String, offset: Int64, limit: Int, include: [String], bodyLimit: Int = 8 << 20,
        _ cancellation: Cancellation? = nil
    ) throws -> [UInt8] {
        let words = include.map { "\"\($0)\"" }.joined(separator: ",")
        return try client.call(
            .post, path(database, "/\(id)/get"), "read the records of a collection",
            json: Array(#"{"limit":\#(limit),"offset":\#(offset),"include":[\#(words)]}"#.utf8), stall: 600,
            bodyLimit: bodyLimit, cancellation: cancellation
        ).body
    }

    /// The id of the record at that place; nil past the end.
    func identifier(_ database: String, _ id: String, at offset: Int64) throws -> String? {
        struct Answer: Decodable { var ids: [String] }
        let purpose = "read the records of a collection"
        return try client.decode(
            Answer.self, try get(database, id, offset: offset, limit: 1, include: []), purpose
        ).ids.first
    }

    func add(_ database: String, _ id: String, _ body: [UInt8], _ cancellation: Cancellation?) throws {
        _ = try client.call(
            .post, path(database, "/\(id)/add"), "add records to a collection", json: body, stall: 600,
            cancellation: cancellation)
    }

    /// Columns `ids` and `metadatas`: members that are null are removed, others set.
    func update(_ database: String, _ id: String, _ body: [UInt8], _ cancellation: Cancellation?) throws {
        _ = try client.call(
            .post, path(database, "/\(id)/update"), "correct records of a collection", json: body, stall: 600,
            cancellation: cancellation)
    }

    /// Ids of the records nearest to a vector, given as JSON numbers, with their distances.
    func nearest(
        _ database: String, _ id: String, to vector: [UInt8], count: Int
    ) throws -> (ids: [String], distances: [Double?]) {
        struct Answer: Decodable {
            var ids: [[String]]
            var distances: [[Double?]]?
        }
        let purpose = "query a collection"
        let body =
            Array(#"{"query_embeddings":["#.utf8) + vector
            + Array(#"],"n_results":\#(count),"include":["distances"]}"#.utf8)
        let response = try client.call(.post, path(database, "/\(id)/query"), purpose, json: body, stall: 600)
        let answer = try client.decode(Answer.self, response.body, purpose)
        return (answer.ids.first ?? [], answer.distances?.first ?? [])
    }
}
