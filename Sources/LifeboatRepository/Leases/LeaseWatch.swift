// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStorage

/// What this host saw of a lease: its beat, and since when it did not change. Kept from one prune to the next.
package struct LeaseSighting: Sendable, Equatable, Codable {
    /// Digest of the beat's bytes; nil when there was none.
    package var beat: Digest?
    /// Seconds of own measured time since the beat was first seen like this.
    package var unchanged: ElapsedTime

    package init(beat: Digest?, unchanged: ElapsedTime) {
        self.beat = beat
        self.unchanged = unchanged
    }
}

/// Time this host measured itself, over several runs: monotonic within a boot, and never more than really passed.
package struct ElapsedTime: Sendable, Equatable, Codable {
    /// Seconds up to `monotonic` of `boot`.
    private var seconds: Double
    private var boot: String
    private var monotonic: Double

    /// Starts measuring.
    package init(_ moment: MeasuredMoment) {
        seconds = 0
        boot = moment.boot
        monotonic = moment.monotonic
    }

    /// Seconds up to `moment`, at least. After a reboot only the time since then counts on: how long the host was down
    /// is not known without trusting a wall clock.
    package func seconds(at moment: MeasuredMoment) -> Double {
        seconds + max(0, moment.boot == boot ? moment.monotonic - monotonic : moment.monotonic)
    }

    /// The same measurement, carried on from `moment`.
    package func carried(to moment: MeasuredMoment) -> ElapsedTime {
        var result = ElapsedTime(moment)
        result.seconds = seconds(at: moment)
        return result
    }
}

/// A reading of the monotonic clock.
package struct MeasuredMoment: Sendable, Equatable {
    /// Which boot of which machine the clock counts from.
    package var boot: String
    /// Seconds since that boot.
    package var monotonic: Double

    package init(boot: String, monotonic: Double) {
        self.boot = boot
        self.monotonic = monotonic
    }
}

/// A lease as a prune finds it.
package struct ObservedLease: Sendable, Equatable {
    package enum Condition: Sendable, Equatable {
        /// Its holder may be at work.
        case live
        /// Its holder is certainly gone: nothing of it counts.
        case gone
        /// It was not renewed for long: to be broken before manifests are read. What it announced still counts.
        case dead
    }

    package var id: LeaseID
    /// Nil when the record could not be read: treated like a backup's.
    package var record: LeaseRecord?
    package var condition: Condition

    package init(id: LeaseID, record: LeaseRecord?, condition: Condition) {
        self.id = id
        self.record = record
        self.condition = condition
    }

    package var kind: LeaseKind { record?.kind ?? .backup }

    /// Its holder deletes or replaces what is there: one at a time.
    var excludesPrune: Bool { kind == .prune || kind == .repair }

    /// `backup on host 'a', process 12`.
    var described: String {
        guard let record else { return "a lease that cannot be read" }
        let process = record.process.map { ", process \($0.processID)" } ?? ""
        return "\(record.kind.rawValue) on host '\(record.host)'\(process)"
    }

    /// What a second prune or repair says.
    func busy(_ settings: LeaseSettings) -> LifeboatError {
        LifeboatError(
            "another \(kind.rawValue) works on this repository", causes: [described],
            hint: "Try again later. If that process is gone, its lease is counted as dead once it was seen unchanged "
                + "for \(Int(settings.deadAfter / 60)) minutes between two runs of prune or repair.",
            exitCode: .busy)
    }
}

/// Judges leases. Pure.
package enum LeaseJudgement {
    package static func condition(
        holderIsGone: Bool, isBroken: Bool, sighting: LeaseSighting, now: MeasuredMoment, _ settings: LeaseSettings
    ) -> ObservedLease.Condition {
        if holderIsGone { return .gone }
        if isBroken { return .dead }
        return sighting.unchanged.seconds(at: now) >= settings.deadAfter ? .dead : .live
    }

    /// What to remember of a lease whose beat is now `beat`.
    package static func sighting(
        _ earlier: LeaseSighting?, beat: Digest?, now: MeasuredMoment
    ) -> LeaseSighting {
        if let earlier, earlier.beat == beat {
            return LeaseSighting(beat: beat, unchanged: earlier.unchanged.carried(to: now))
        }
        return LeaseSighting(beat: beat, unchanged: ElapsedTime(now))
    }
}

/// Looks at all leases of a repository.
struct LeaseWatch {
    let repository: Repository
    let settings: LeaseSettings
    /// The observer's own, which it does not wait for.
    let own: LeaseID?

    struct Listing {
        var leases: [ObservedLease] = []
        /// Stored objects that belong to no lease: left by a holder that died while it took or gave back one.
        var strays: [ObjectKey] = []
        /// Manifests that were announced; those of `gone` holders are not among them.
        var announced: [ObjectKey] = []
    }

    /// Lists and judges; updates `sightings`, and forgets those of leases that ended.
    func observe(_ sightings: inout [LeaseID: LeaseSighting], now: MeasuredMoment) throws -> Listing {
        var parts: [LeaseID: Set<LeasePart>] = [:]
        for object in try repository.store.listAll(prefix: RepositoryLayout.leasePrefix) {
            let key = repository.sealing.plainKey(object.key) ?? object.key
            guard let name = RepositoryLayout.leaseName(key) else { continue }
            parts[name.id, default: []].insert(name.part)
        }
        var listing = Listing()
        var seen: [LeaseID: LeaseSighting] = [:]
        for (id, parts) in parts.sorted(by: { $0.key < $1.key }) where id != own {
            guard parts.contains(.record) || parts.contains(.pending) else {
                // A beat without a record: the lease is being taken this moment, or its holder died doing so. Its
                // holder has looked at nothing yet. A mark of death goes when nothing has changed for long.
                let sighting = LeaseJudgement.sighting(sightings[id], beat: nil, now: now)
                seen[id] = sighting
                if sighting.unchanged.seconds(at: now) >= settings.announcedManifestLifetime {
                    listing.strays += parts.map { repository.storedKey(id, $0) }
                }
                continue
            }
            let beat = try read(id, .beat).map { BLAKE3.hash($0) }
            let sighting = LeaseJudgement.sighting(sightings[id], beat: beat, now: now)
            seen[id] = sighting
            let record = try record(id)
            // It ended since it was listed.
            if record == nil, !parts.contains(.pending), try !exists(id, .record) { continue }
            let condition = LeaseJudgement.condition(
                holderIsGone: record?.holderIsGone ?? false, isBroken: parts.contains(.broken), sighting: sighting,
                now: now, settings)
            listing.leases.append(ObservedLease(id: id, record: record, condition: condition))
            let isOver =
                condition == .gone
                || condition == .dead
                    && sighting.unchanged.seconds(at: now) >= settings.announcedManifestLifetime
            if isOver {
                listing.strays += LeasePart.allCases.filter(parts.contains).map { repository.storedKey(id, $0) }
            } else if parts.contains(.pending) {
                listing.announced.append(RepositoryLayout.lease(id, .pending))
            }
        }
        sightings = seen
        return listing
    }

    /// Marks a lease as dead, so that its holder cannot commit any more. False when the store takes no writes: the
    /// lease counts as live then. An empty object fits on a full disk.
    func breakLease(_ id: LeaseID) throws -> Bool {
        do throws(StorageError) {
            try repository.store.put(repository.storedKey(id, .broken), [])
            return true
        } catch {
            if error.kind == .full || error.kind == .denied { return false }
            throw error
        }
    }

    private func exists(_ id: LeaseID, _ part: LeasePart) throws -> Bool {
        try repository.store.stat(repository.storedKey(id, part)) != nil
    }

    /// Nil when there is none. The stored bytes, whatever they are wrapped in: only a change of them matters.
    private func read(_ id: LeaseID, _ part: LeasePart) throws -> [UInt8]? {
        do throws(StorageError) {
            return try repository.store.get(repository.storedKey(id, part), limit: 1 << 16)
        } catch {
            if error.kind == .notFound { return nil }
            throw error
        }
    }

    /// Nil when it is gone or cannot be understood; it is judged by its beat alone then.
    private func record(_ id: LeaseID) throws -> LeaseRecord? {
        let bytes: [UInt8]
        do {
            bytes = try repository.load(RepositoryLayout.lease(id, .record), limit: 1 << 16)
        } catch let error as StorageError {
            if error.kind == .notFound { return nil }
            throw error
        }
        guard let record = try? CanonicalJSON.decode(LeaseRecord.self, from: bytes), record.id == id else { return nil }
        return record
    }
}
