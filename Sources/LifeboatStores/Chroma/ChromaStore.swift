// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatIO

/// The collections of a Chroma server, read record by record through its interface, since Chroma has no snapshots.
///
/// What is captured is what was there at the fixed point: records keep the order in which they were added, so the first
/// N of them stay the first N while others are added. Records that are deleted meanwhile are noticed; records that are
/// changed in place are captured as they are when they are read.
package struct ChromaStore: DataStore {
    package let endpoint: RESTEndpoint
    package let tenant: String
    /// Nil: all databases of the tenant.
    package let database: String?
    /// Collections of a snapshot that a restore takes, as `NAME` or `DATABASE/NAME`; nil: all it holds.
    private(set) var parts: [String]?
    /// Where this host keeps what it has to clear up on the server.
    let stateFolder: String
    let api: ChromaAPI

    /// `url` without user, password and path; with a container, which that runner's engine has, it names the service and
    /// the port in there; `stateFolder` is made when it is needed.
    package init(
        url: String, token: Secret? = nil, tenant: String = "default_tenant", database: String? = nil,
        certificates: String? = nil, container: (ServerContainer, any ProcessRunner)? = nil, stateFolder: String
    ) {
        // Chroma itself checks no token any more: what stands before it looks at one of these.
        endpoint = RESTEndpoint(
            service: "Chroma", url: url, keyHeaders: [("Authorization", "Bearer "), ("X-Chroma-Token", "")], key: token,
            certificates: certificates, container: container)
        self.tenant = tenant
        self.database = database
        self.stateFolder = "\(stateFolder)/chroma"
        api = ChromaAPI(client: RESTClient(endpoint), tenant: tenant)
    }

    /// The same server, of which a restore takes these collections only: `NAME`, or `DATABASE/NAME` where several
    /// databases have one.
    package func limited(to parts: [String]) -> ChromaStore {
        var limited = self
        limited.parts = parts
        return limited
    }

    package var kind: String { "chroma" }
    package var subject: String {
        parts.map { "\(PartNames.text($0, "collection")) of \(endpoint.subject)" } ?? endpoint.subject
    }
    package var swapsWithServer: Bool { true }

    /// Records of a collection of that name in any of the databases: for a policy's checks.
    package func points(_ collection: String, cancellation: Cancellation? = nil) throws -> Int64 {
        for database in try databases(cancellation) {
            if let found = try api.collection(database, named: collection) {
                return try api.count(database, found.id, cancellation)
            }
        }
        throw LifeboatError("\(subject) has no collection '\(collection)'")
    }

    private func databases(_ cancellation: Cancellation? = nil) throws -> [String] {
        let existing = try api.databases(cancellation)
        guard let database else { return existing }
        guard existing.contains(database) else {
            throw LifeboatError(
                "tenant '\(tenant)' of \(subject) has no database '\(database)'",
                causes: ["it has: \(existing.joined(separator: ", "))"])
        }
        return [database]
    }

    package func probe() throws -> StoreProbe {
        _ = try api.limits()
        var probe = StoreProbe(engineVersion: try api.release())
        var bytes: UInt64 = 0
        for database in try databases() {
            for collection in try api.collections(database) {
                let records = UInt64(clamping: try api.count(database, collection.id))
                // What a server says of itself: clamped to what can be.
                let recordBytes = UInt64(min(max(collection.dimension ?? 0, 0), 1 << 24)) * 6 + 1000
                let (product, overflow) = records.multipliedReportingOverflow(by: recordBytes)
                bytes.addClamped(overflow ? .max : product)
                if ChromaNames.isStaged(collection.name) {
                    probe.warnings.append(
                        LifeboatError("collection '\(collection.name)' is left over from a restore: it is not captured")
                    )
                }
            }
        }
        probe.estimatedBytes = bytes
        return probe
    }

    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        ChromaCapturePoint(api, try contents(cancellation), cancellation)
    }

    /// All collections as they are now.
    func contents(_ cancellation: Cancellation) throws -> ChromaContents {
        try cancellation.check()
        var contents = ChromaContents(
            server: try api.version(cancellation), tenant: tenant, databases: try databases(cancellation),
            collections: [])
        for database in contents.databases {
            for collection in try api.collections(database, cancellation)
            where !ChromaNames.isStaged(collection.name) {
                try cancellation.check()
                let (records, last) = try fence(database, collection.id)
                contents.collections.append(
                    ChromaContents.Collection(
                        database: database, name: collection.name, id: collection.id,
                        part: ChromaContents.partName(database, collection.name, number: contents.collections.count),
                        dimension: collection.dimension,
                        metadata: collection.metadata.map { String(decoding: $0, as: UTF8.self) },
                        configuration: collection.configuration.map { String(decoding: $0, as: UTF8.self) },
                        schema: collection.schema.map { String(decoding: $0, as: UTF8.self) },
                        records: records, last: last))
            }
        }
        return contents
    }

    /// How many records there are, and which is the last of them: as long as it is at its place none before it was
    /// deleted.
    private func fence(_ database: String, _ id: String) throws -> (records: Int64, last: String?) {
        for _ in 0..<5 {
            let records = try api.count(database, id)
            if records == 0 { return (0, nil) }
            if let last = try api.identifier(database, id, at: records - 1) { return (records, last) }
        }
        throw LifeboatError(
            "a collection of \(subject) cannot be fixed", causes: ["records are deleted from it all the time"],
            hint: "Stop what writes to it for the time of the backup.")
    }
}

/// Counts and last records; everything else is read when it is asked for.
private struct ChromaCapturePoint: CapturePoint {
    private let contents: ChromaContents
    let parts: [CapturePart]

    init(_ api: ChromaAPI, _ contents: ChromaContents, _ cancellation: Cancellation) {
        self.contents = contents
        parts =
            [
                .stream(name: ChromaContents.part) {
                    MemorySource(try JSONText.encode(contents, pretty: true) + [0x0A])
                }
            ]
            + contents.collections.map { collection in
                .stream(name: collection.part) {
                    DownloadSource(name: "chroma-records") { sink in
                        try ChromaExport(api, collection, cancellation).run(sink)
                    }
                }
            }
    }

    var method: String { "records through the server's interface" }

    func facts() throws -> StoreFacts { contents.facts }

    func release() {}
}

/// What a capture of a Chroma server holds beside the records: the part `collections`.
struct ChromaContents: Codable, Sendable, Equatable {
    struct Collection: Codable, Sendable, Equatable {
        var database: String
        var name: String
        /// On the server it came from; a restored collection gets another.
        var id: String
        /// The stream that holds its records, one a line.
        var part: String
        var dimension: Int?
        /// JSON as the server wrote it.
        var metadata: String?
        var configuration: String?
        /// Nil too in snapshots of earlier versions, and of servers that know none.
        var schema: String?
        var records: Int64
        /// Id of the last record.
        var last: String?

        var place: String { "\(database)/\(name)" }
    }

    var format = 1
    var server: String
    var tenant: String
    var databases: [String]
    var collections: [Collection]

    static let part = "collections"
    /// Of the fact that every collection has.
    static let recordsPrefix = "records:"
    static let limit = 64 << 20

    /// Places of these names, or of `DATABASE/NAME`.
    static func places(_ names: [String], among places: [String], of subject: String) throws -> Set<String> {
        var chosen: Set<String> = []
        for name in names {
            let found = places.filter { $0 == name || $0.drop { $0 != "/" }.dropFirst() == name }
            guard let place = found.first else {
                throw PartNames.missing(name, "collection", of: subject, among: places)
            }
            guard found.count == 1 || found.contains(name) else {
                throw LifeboatError(
                    "the snapshot holds several collections '\(name)' of \(subject)",
                    causes: found.sorted().map { "'\($0)'" }, hint: "Name its database too.", exitCode: .usage)
            }
            chosen.insert(found.contains(name) ? name : place)
        }
        return chosen
    }

    var facts: StoreFacts {
        var facts = StoreFacts()
        facts.texts["server"] = server
        for collection in collections {
            facts.counts[Self.recordsPrefix + collection.place] = collection.records
            if let dimension = collection.dimension { facts.texts["dimension:\(collection.place)"] = "\(dimension)" }
        }
        return facts
    }

    /// Names of streams become files of a loose restore: at most 255 bytes without a slash. The first dot ends the
    /// database.
    static func partName(_ database: String, _ collection: String, number: Int) -> String {
        let name = "\(RESTClient.escaped(database).replacing(".", with: "%2E")).\(collection).jsonl"
        return name.utf8.count <= 200 ? name : "collection-\(number).jsonl"
    }
}

/// Names of what a restore makes on the server: 3 to 512 of `A-Z a-z 0-9 . _ -`, a letter or digit at both ends
/// (rust/types/src/validators.rs).
enum ChromaNames {
    private static let mark = "-lifeboat-"

    static func isFitting(_ restoreID: String) -> Bool {
        (1...80).contains(restoreID.utf8.count)
            && restoreID.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) || (0x41...0x5A).contains($0) || $0 == 0x2D
            } && restoreID.last != "-"
    }

    /// The longest name a server takes.
    private static let maximumBytes = 512

    /// Where each collection, by `database/name`, is staged, and what the live one is called meanwhile; the same for the
    /// same collections.
    static func places(_ collections: [String], _ restoreID: String) -> [String: (staged: String, old: String)] {
        var places: [String: (staged: String, old: String)] = [:]
        for (number, place) in collections.sorted().enumerated() {
            let name = String(place.drop { $0 != "/" }.dropFirst())
            func fitted(_ suffix: String) -> String {
                DerivedName.fitted(name, of: name, suffix: suffix, limit: maximumBytes)
            }
            places[place] = (fitted("\(mark)\(number)-\(restoreID)"), fitted("\(mark)old-\(number)-\(restoreID)"))
        }
        return places
    }

    static func isStaged(_ name: String) -> Bool { name.contains(mark) }
}
