// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatFormats

/// A snapshot: what was captured of a stack at one time, and where it is in the repository. Stored as JSON with sorted
/// keys under `snapshots/`; its id is the BLAKE3 of the stored bytes.
package struct Manifest: Codable, Sendable, Equatable {
    /// The manifest version this lifeboat writes.
    package static let currentFormat = 1

    package struct Part: Codable, Sendable, Equatable {
        package enum Kind: String, Codable, Sendable { case stream, tree }

        package var name: String
        package var kind: Kind
        /// The bytes of a stream, or the mtree text of a tree.
        package var content: ContentReference

        package init(name: String, kind: Kind, content: ContentReference) {
            self.name = name
            self.kind = kind
            self.content = content
        }
    }

    package struct Component: Codable, Sendable, Equatable {
        package var name: String
        /// `volume`, `postgres` …
        package var store: String
        /// What was captured, for people and for `restore --to`: the folder of a volume, the database.
        package var source: String
        package var engineVersion: String?
        package var method: String
        package var parts: [Part]
        /// Files in trees; 1 for each stream.
        package var files: UInt64
        /// Plain bytes.
        package var bytes: UInt64
        package var counts: [String: Int64]
        package var texts: [String: String]
        package var warnings: [String]
        /// Why the component is not complete; empty when it is.
        package var problems: [String]

        private enum CodingKeys: String, CodingKey {
            case name, store, source, method, parts, files, bytes, counts, texts, warnings, problems
            case engineVersion = "engine_version"
        }

        package init(name: String, store: String, source: String, method: String) {
            self.name = name
            self.store = store
            self.source = source
            self.method = method
            parts = []
            files = 0
            bytes = 0
            counts = [:]
            texts = [:]
            warnings = []
            problems = []
        }

        package var isComplete: Bool { problems.isEmpty }
    }

    /// How writers were held while the stores fixed their points in time.
    package struct Freeze: Codable, Sendable, Equatable {
        /// `pause` or `stop`.
        package var method: String
        /// What was held, in start order; empty when none of the writers ran.
        package var services: [String]
        /// From the first moment a writer was held until the last one went on.
        package var seconds: Double
        /// Why the components are not of one moment; nil when they are.
        package var problem: String?

        package init(method: String, services: [String], seconds: Double, problem: String? = nil) {
            self.method = method
            self.services = services
            self.seconds = seconds
            self.problem = problem
        }
    }

    /// By what a restore tells that a secret of the stack is another one than it was.
    package struct Secrets: Codable, Sendable, Equatable {
        package struct Fingerprint: Codable, Sendable, Equatable {
            package var name: String
            /// 4 hexadecimal digits.
            package var fingerprint: String
            /// What another value breaks, in the policy's words.
            package var breaks: String?

            package init(name: String, fingerprint: String, breaks: String?) {
                self.name = name
                self.fingerprint = fingerprint
                self.breaks = breaks
            }
        }

        /// 16 random bytes in hex, the same in later snapshots.
        package var salt: String
        package var fingerprints: [Fingerprint]

        package init(salt: String, fingerprints: [Fingerprint]) {
            self.salt = salt
            self.fingerprints = fingerprints
        }
    }

    package var format: Int
    /// Of the repository it was written to: a manifest of another repository is refused.
    package var repositoryID: Digest
    package var stack: String
    package var host: String
    /// Counts the snapshots of this stack by this host, from 1.
    package var sequence: UInt64
    /// Id of the snapshot before it, of this stack and host.
    package var previous: Digest?
    package var started: Timestamp
    /// When all stores had fixed their point in time: what `--at` compares.
    package var frozen: Timestamp
    package var ended: Timestamp
    /// Every component is complete, and all are of one moment if the policy asks for that.
    package var complete: Bool
    /// Ids of the snapshots this one stands for since a repair kept what was left of them, oldest first; nil for what
    /// a backup wrote. Such a snapshot is never complete.
    package var repairedFrom: [Digest]?
    /// Ids this snapshot had before it was encrypted for other readers, oldest first; nil for one that was not. It is the
    /// same snapshot in every other way.
    package var rewrappedFrom: [Digest]?
    /// Nil: no writer was to be held.
    package var freeze: Freeze?
    /// Nil: the policy has no checks.
    package var checks: [CheckResult]?
    /// Nil: the policy names no secrets.
    package var secrets: Secrets?
    /// Pins of the stack when it was written, and those that were gone without a record; nil: none. What is named here and
    /// is neither there nor recorded as taken away was removed by somebody who must not.
    package var pinned: [PinReference]?
    package var components: [Component]
    /// Bytes read, plain bytes that were new, and bytes added to the repository.
    package var bytesRead: UInt64
    package var bytesNew: UInt64
    package var bytesStored: UInt64
    /// Text of the policy; nil for ad-hoc backups.
    package var policy: String?
    /// Version of lifeboat that wrote it.
    package var lifeboat: String

    private enum CodingKeys: String, CodingKey {
        case format, stack, host, sequence, previous, started, frozen, ended, complete, components, policy, lifeboat
        case freeze, checks, secrets, pinned
        case repositoryID = "repository_id"
        case bytesRead = "bytes_read"
        case bytesNew = "bytes_new"
        case bytesStored = "bytes_stored"
        case repairedFrom = "repaired_from"
        case rewrappedFrom = "rewrapped_from"
    }

    package init(
        repositoryID: Digest, stack: String, host: String, sequence: UInt64, previous: Digest?, started: Timestamp,
        lifeboat: String
    ) {
        format = Self.currentFormat
        self.repositoryID = repositoryID
        self.stack = stack
        self.host = host
        self.sequence = sequence
        self.previous = previous
        self.started = started
        frozen = started
        ended = started
        complete = false
        components = []
        bytesRead = 0
        bytesNew = 0
        bytesStored = 0
        policy = nil
        self.lifeboat = lifeboat
    }

    /// Reads what a manifest object holds. Throws when it is not the JSON of a manifest, names a component twice, or has
    /// numbers that cannot be: from here on sums over its components fit into 64 bits.
    package init(decoding bytes: [UInt8]) throws {
        self = try CanonicalJSON.decode(Manifest.self, from: bytes)
        guard isPlausible else { throw Implausible() }
    }

    private struct Implausible: Error {}

    /// 2^60 snapshots, files or bytes of one thing: more than there is.
    private static let limit: UInt64 = 1 << 60

    private var isPlausible: Bool {
        func sum(_ numbers: [UInt64]) -> UInt64 { numbers.clampedSum { $0 } }
        return Set(components.map(\.name)).count == components.count
            && [sequence, bytesRead, bytesNew, bytesStored].allSatisfy { $0 <= Self.limit }
            && sum(components.map(\.files)) <= Self.limit && sum(components.map(\.bytes)) <= Self.limit
            && sum(components.flatMap { $0.parts.map(\.content.size) }) <= Self.limit
            && freeze.map { (0...1e9).contains($0.seconds) } ?? true
    }

    /// The checks that did not hold.
    package var failedChecks: [CheckResult] { checks?.filter { !$0.holds } ?? [] }

    /// Ids of the snapshots that this one stands for.
    package var earlierIDs: [Digest] { (repairedFrom ?? []) + (rewrappedFrom ?? []) }

    package func component(_ name: String) -> Component? { components.first { $0.name == name } }
}

/// A manifest as it is stored: with its id and the object it is in.
package struct Snapshot: Sendable, Equatable {
    /// BLAKE3 of the stored manifest.
    package var id: Digest
    package var manifest: Manifest

    package init(id: Digest, manifest: Manifest) {
        self.id = id
        self.manifest = manifest
    }
}
