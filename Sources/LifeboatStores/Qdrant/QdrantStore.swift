// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatIO

/// Collections of one Qdrant server: a snapshot of each, made by the server, restored beside the live one.
///
/// What the policy names by an alias is swapped by moving the alias; everything else is copied into its own name, since
/// Qdrant cannot rename a collection and some application may use that name.
package struct QdrantStore: DataStore {
    package let endpoint: RESTEndpoint
    /// Names of collections or aliases, as applications use them; nil: all collections, by their own names.
    package let collections: [String]?
    /// Collections or aliases of a snapshot that a restore takes; nil: all it holds.
    private(set) var parts: [String]?
    /// Where this host keeps what it has to clear up on the server.
    let stateFolder: String
    let api: QdrantAPI

    /// `url` without user, password and path; with a container, which that runner's engine has, it names the service and
    /// the port in there; `stateFolder` is made when it is needed.
    package init(
        url: String, key: Secret? = nil, collections: [String]? = nil, certificates: String? = nil,
        container: (ServerContainer, any ProcessRunner)? = nil, stateFolder: String
    ) {
        endpoint = RESTEndpoint(
            service: "Qdrant", url: url, keyHeaders: [("api-key", "")], key: key, certificates: certificates,
            container: container)
        self.collections = collections
        self.stateFolder = "\(stateFolder)/qdrant"
        api = QdrantAPI(client: RESTClient(endpoint))
    }

    /// The same server, of which a restore takes these collections only, by their names or aliases.
    package func limited(to parts: [String]) -> QdrantStore {
        var limited = self
        limited.parts = parts
        return limited
    }

    package var kind: String { "qdrant" }
    package var subject: String {
        parts.map { "\(PartNames.text($0, "collection")) of \(endpoint.subject)" } ?? endpoint.subject
    }
    package var swapsWithServer: Bool { true }

    /// Points of a collection, or of what an alias points to, counted one by one: for a policy's checks.
    package func points(_ collection: String, cancellation: Cancellation? = nil) throws -> Int64 {
        try api.count(collection, cancellation)
    }

    package func probe() throws -> StoreProbe {
        let version = try api.version()
        guard version >= .oldest else {
            throw LifeboatError(
                "\(subject) is too old to be captured",
                causes: ["it is version \(version), its snapshots have no checksums before \(QdrantVersion.oldest)"],
                hint: "Update Qdrant, one minor version at a time.")
        }
        var probe = StoreProbe(engineVersion: version.description)
        probe.warnings = QdrantSnapshots.clearUp(api, folder: stateFolder)
        if version.cannotLoadSnapshots {
            probe.warnings.append(
                LifeboatError(
                    "Qdrant \(version) cannot load snapshots: a restore needs a later 1.16 or 1.17",
                    hint: "Update Qdrant to 1.16.3 or newer."))
        }
        for chosen in try chosen() {
            let collection = chosen.name
            let remote = try api.remoteShards(collection)
            guard remote == 0 else {
                throw LifeboatError(
                    "\(chosen.shown) of \(subject) cannot be captured whole",
                    causes: ["\(remote) of its shards are on other servers of the cluster"],
                    hint: "lifeboat captures Qdrant servers that hold all their shards themselves.")
            }
            let description = try api.describe(collection)
            if description.config.value(at: "params.sharding_method")?.text == "custom" {
                throw LifeboatError(
                    "\(chosen.shown) of \(subject) cannot be captured",
                    causes: ["it has custom sharding, and Qdrant restores such a snapshot without its points"],
                    hint: "Name the other collections with 'collections' in the policy (qdrant/qdrant issue 10135).")
            }
            if description.status == "red" {
                probe.warnings.append(
                    LifeboatError(
                        "\(chosen.shown) of \(subject) is not well: its status is red",
                        hint: "Look at the server's log; keep the snapshots you have."))
            }
        }
        return probe
    }

    /// A collection of the server to capture.
    struct Chosen {
        var name: String
        var aliases: [String]
        var usedByAlias: Bool

        /// `collection 'docs_v2'`, with the alias that the policy names it by.
        var shown: String { "collection \(QdrantNames.shown(name, aliases: usedByAlias ? aliases : []))" }
    }

    /// The collections of the policy, or all. Staged data of a restore is none of them.
    func chosen() throws -> [Chosen] {
        let existing = try api.collections()
        let aliases = try api.aliases()
        func aliasNames(_ collection: String) -> [String] {
            aliases.filter { $0.value == collection }.map(\.key).sorted()
        }
        guard let collections else {
            return existing.compactMap { name in
                let names = aliasNames(name)
                if QdrantNames.isStaged(name), names.isEmpty { return nil }
                return Chosen(name: name, aliases: names, usedByAlias: false)
            }
        }
        var chosen: [Chosen] = []
        for name in collections {
            if existing.contains(name) {
                chosen.removeAll { $0.name == name }
                chosen.append(Chosen(name: name, aliases: aliasNames(name), usedByAlias: false))
            } else if let target = aliases[name] {
                if let index = chosen.firstIndex(where: { $0.name == target }) {
                    if chosen[index].usedByAlias { chosen[index].aliases.append(name) }
                } else {
                    chosen.append(Chosen(name: target, aliases: [name], usedByAlias: true))
                }
            } else {
                throw LifeboatError(
                    "\(subject) has no collection or alias '\(name)'",
                    causes: ["it has: \((existing + aliases.keys.sorted()).joined(separator: ", "))"])
            }
        }
        return chosen
    }

    package func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint {
        try cancellation.check()
        let version = try api.version(cancellation)
        let snapshots = try QdrantSnapshots(api, folder: stateFolder)
        var contents = QdrantContents(server: version.description, collections: [])
        do {
            for (number, chosen) in try chosen().enumerated() {
                try cancellation.check()
                let description = try api.describe(chosen.name, cancellation)
                let points = try api.count(chosen.name, cancellation)
                let snapshot = try snapshots.create(chosen.name, cancellation)
                let after = try api.count(chosen.name, cancellation)
                contents.collections.append(
                    QdrantContents.Collection(
                        name: chosen.name, part: QdrantContents.partName(chosen.name, number: number),
                        aliases: chosen.aliases, usedByAlias: chosen.usedByAlias, snapshot: snapshot, points: points,
                        pointsAfter: after, config: description.config,
                        payloadSchema: description.fields))
            }
            return QdrantCapturePoint(api, snapshots, try contents.facts(), contents, cancellation)
        } catch {
            snapshots.deleteAll()
            throw error
        }
    }
}

/// The snapshots that were made.
private final class QdrantCapturePoint: CapturePoint {
    private let snapshots: QdrantSnapshots
    private let known: StoreFacts
    let parts: [CapturePart]

    init(
        _ api: QdrantAPI, _ snapshots: QdrantSnapshots, _ facts: StoreFacts, _ contents: QdrantContents,
        _ cancellation: Cancellation
    ) {
        self.snapshots = snapshots
        known = facts
        parts =
            [
                .stream(name: QdrantContents.part) {
                    MemorySource(try JSONText.encode(contents, pretty: true) + [0x0A])
                }
            ]
            + contents.collections.map { collection in
                .stream(name: collection.part) {
                    try api.download(collection.name, collection.snapshot, cancellation) {
                        // Gone at once: it takes the server's disk. What fails is done again by `release`.
                        _ = try? snapshots.delete(collection.name, collection.snapshot.name)
                    }
                }
            }
    }

    var method: String { "collection snapshots" }

    func facts() throws -> StoreFacts { known }

    func release() { snapshots.deleteAll() }
}

/// Names of what a restore makes on the server.
enum QdrantNames {
    /// A collection for people: `'docs_v2' (alias 'docs')`.
    static func shown(_ name: String, aliases: [String]) -> String {
        aliases.isEmpty ? "'\(name)'" : "'\(name)' (alias \(aliases.map { "'\($0)'" }.joined(separator: ", ")))"
    }

    private static let mark = "_lifeboat_"
    private static let oldMark = "_lifeboat_old_"
    /// A file name has 255 bytes at most; the rest is for the server's own endings.
    private static let maximumBytes = 240

    /// Room for the name of the collection itself.
    static func isFitting(_ restoreID: String) -> Bool {
        (1...80).contains(restoreID.utf8.count)
            && restoreID.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) || (0x41...0x5A).contains($0) || $0 == 0x2D
            }
    }

    /// Where each collection is staged, and where the live one is kept meanwhile; the same for the same names.
    static func places(_ collections: [String], _ restoreID: String) -> [String: (staged: String, old: String)] {
        func fitted(_ name: String, _ suffix: String) -> String {
            // What a server refuses in the name of a new collection (lib/common/common/src/validation.rs).
            let accepted = String(base(name).map { "<>:\"/\\|?*".contains($0) || $0 < " " ? "_" : $0 })
            return DerivedName.fitted(accepted, of: name, suffix: suffix, limit: maximumBytes)
        }
        return Dictionary(
            collections.map { ($0, (staged: fitted($0, mark + restoreID), old: fitted($0, oldMark + restoreID))) }
        ) { first, _ in first }
    }

    static func isStaged(_ name: String) -> Bool { name.contains(mark) }

    /// A collection that an earlier restore made carries that restore's mark.
    private static func base(_ name: String) -> Substring {
        guard let found = name.firstRange(of: mark) else { return name[...] }
        let base = name[..<found.lowerBound]
        // And a digest, unless it was the first one.
        let digest = base.suffix(DerivedName.digestDigits)
        let isDerived =
            digest.utf8.count == DerivedName.digestDigits && digest.allSatisfy(\.isHexDigit)
            && base.dropLast(DerivedName.digestDigits).last == "_"
        return isDerived ? base.dropLast(DerivedName.digestDigits + 1) : base
    }
}
