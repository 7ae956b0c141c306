// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// What this host remembers from one prune to the next. Losing it costs time, never data: grace periods begin anew.
struct PruneMemory: Codable, Sendable {
    /// Packs whose marks were first seen together.
    struct Batch: Codable, Sendable {
        var packs: [Digest]
        /// Leases that were there after the marks had been made.
        var leases: [LeaseID]
        var age: ElapsedTime
    }

    var batches: [Batch] = []
    var sightings: [String: LeaseSighting] = [:]
    /// Snapshots and packs there were when the last prune ended.
    var snapshots = 0
    var packs = 0
    /// Ids of those snapshots; missing in what earlier versions wrote.
    var snapshotIDs: [Digest]?
    /// Packs there were at the last prune, and the leases there were after they had been listed.
    var listedPacks: [Digest] = []
    var leasesThen: [LeaseID] = []

    private static func path(_ repository: Repository) -> String { "\(repository.localFolder)/prune.json" }

    static func load(_ repository: Repository) -> PruneMemory {
        // A memory that is not there or cannot be read is an empty one.
        guard let bytes = try? SmallFile.contents(path(repository), limit: 1 << 30) else { return PruneMemory() }
        return (try? CanonicalJSON.decode(PruneMemory.self, from: bytes)) ?? PruneMemory()
    }

    func save(_ repository: Repository) throws {
        let bytes = try CanonicalJSON.encode(self)
        do {
            try bytes.withUnsafeBytes {
                _ = try AtomicFile.write([$0], to: Self.path(repository), durable: false)
            }
        } catch {
            // The next run starts its measurements anew.
            repository.local.health.report(error)
        }
    }

    /// The sightings by lease.
    var leaseSightings: [LeaseID: LeaseSighting] {
        get {
            var result: [LeaseID: LeaseSighting] = [:]
            for (text, sighting) in sightings { if let id = LeaseID(text) { result[id] = sighting } }
            return result
        }
        set { sightings = Dictionary(uniqueKeysWithValues: newValue.map { ($0.key.text, $0.value) }) }
    }
}
