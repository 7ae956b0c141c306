// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
package import LifeboatStorage

/// The snapshots of a repository: listed, read and verified, found by what people type, written.
package struct SnapshotCatalog: Sendable {
    /// Ascending by time, then number, then id.
    package let snapshots: [Snapshot]
    /// Manifests that could not be read or are not what their name says; named in every listing, never skipped over
    /// in silence.
    package let damaged: [LifeboatError]
    /// For each of `damaged` the stack its name says; nil when it says none.
    private let damagedStacks: [String?]
    /// Manifests that the keys of this process do not open; only with `skippingSealed`.
    package let sealed: Int
    /// Short ids of all manifests that were listed, those that cannot be read among them.
    let listed: Set<String>
    /// `<stack>/<host>` → the newest snapshot this host remembers, as it was before the manifests were listed: what it
    /// names was there then.
    let remembered: [String: HostTrust.Pin.Seen]
    /// Stack → pins that this host remembers, as of the same time.
    let rememberedPins: [String: [PinReference]]

    /// Reads every manifest; with `stack` those of that stack only. `skippingSealed` leaves out what the keys do not
    /// open, and on a host without a key what it did not write itself; else that throws. Whoever deletes must not skip.
    package init(_ repository: Repository, stack: String? = nil, skippingSealed: Bool = false) throws {
        let memory = try repository.trust?.pin(repository.config.repositoryID)
        remembered = memory?.newest ?? [:]
        rememberedPins = memory?.pins ?? [:]
        var sealed = 0
        var snapshots: [Snapshot] = []
        var damaged: [LifeboatError] = []
        var damagedStacks: [String?] = []
        func note(_ error: LifeboatError, _ key: ObjectKey) {
            damaged.append(error)
            damagedStacks.append(RepositoryLayout.manifestName(key)?.stack)
        }
        let prefix = RepositoryLayout.snapshotPrefix + (stack.map { "\($0)/" } ?? "")
        // A repair puts one manifest in the place of another, and a listing is no snapshot: it is repeated until it
        // shows nothing new, so that nobody who deletes finds neither of the two.
        var seen: Set<ObjectKey> = []
        for _ in 0..<Self.listings {
            let new = try repository.objects(prefix).filter { seen.insert($0.key).inserted }
            if new.isEmpty { break }
            for object in new {
                do {
                    switch try Self.examine(object.key, repository, orCopy: skippingSealed) {
                    case .snapshot(let snapshot): snapshots.append(snapshot)
                    case .misnamed(_, let error), .tooNew(let error): note(error, object.key)
                    }
                } catch let error as LifeboatError where error.exitCode == .wrongKey && skippingSealed {
                    sealed += 1
                } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                    // Forgotten since it was listed: that is no damage.
                    if try repository.exists(object.key) { note(error, object.key) }
                }
            }
        }
        // A rewrap that was ended leaves both; they are one snapshot.
        let replaced = Set(snapshots.flatMap { $0.manifest.rewrappedFrom ?? [] })
        if !replaced.isEmpty { snapshots.removeAll { replaced.contains($0.id) } }
        // Several of one second are told apart by their number.
        snapshots.sort {
            ($0.manifest.frozen, $0.manifest.sequence, $0.id) < ($1.manifest.frozen, $1.manifest.sequence, $1.id)
        }
        self.snapshots = snapshots
        self.damaged = damaged
        self.damagedStacks = damagedStacks
        self.sealed = sealed
        listed = Set(seen.compactMap { RepositoryLayout.manifestName($0)?.shortID })
    }

    /// Those of `damaged` that may be snapshots of that stack; without one all.
    package func damaged(ofStack stack: String?) -> [LifeboatError] {
        guard let stack else { return damaged }
        return zip(damaged, damagedStacks).filter { $0.1 == nil || $0.1 == stack }.map(\.0)
    }

    /// How often manifests are listed while backups go on adding some.
    private static let listings = 10

    /// Every manifest there is by name, sorted. Listed until nothing new shows.
    static func keys(_ repository: Repository) throws -> [ObjectKey] {
        var keys: Set<ObjectKey> = []
        for _ in 0..<listings {
            let before = keys.count
            keys.formUnion(try repository.objects(RepositoryLayout.snapshotPrefix).map(\.key))
            if keys.count == before { break }
        }
        return keys.sorted { $0.text < $1.text }
    }

    /// What a manifest turned out to be.
    enum Examined {
        case snapshot(Snapshot)
        /// A whole manifest of this repository under a name that another stack or time would have.
        case misnamed(Snapshot, LifeboatError)
        /// Written by a newer lifeboat.
        case tooNew(LifeboatError)
    }

    /// Reads and verifies one manifest: its bytes against the id in its name before any parser sees them.
    ///
    /// `orCopy`: on a host without a key the copy that it kept of what it wrote itself will do.
    package static func read(_ key: ObjectKey, _ repository: Repository, orCopy: Bool = false) throws -> Snapshot {
        switch try examine(key, repository, orCopy: orCopy) {
        case .snapshot(let snapshot): return snapshot
        case .misnamed(_, let error), .tooNew(let error): throw error
        }
    }

    /// The stored bytes of a manifest, verified against the id in its name; throws when they are not what it says.
    static func storedManifest(_ key: ObjectKey, _ repository: Repository) throws -> (bytes: [UInt8], id: Digest) {
        guard let name = RepositoryLayout.manifestName(key) else {
            throw RepositoryError.damaged(key.text, "its name is not that of a manifest")
        }
        let stored: [UInt8]
        do {
            stored = try repository.store.get(repository.sealing.storedKey(key), limit: Repository.documentLimit)
        } catch {
            throw error.readingRepositoryObject(key)
        }
        let id = BLAKE3.hash(stored)
        guard id.shortHex == name.shortID else {
            throw RepositoryError.damaged(key.text, "its bytes do not have the digest in its name")
        }
        return (stored, id)
    }

    /// As `read`; throws for what is damaged or cannot be read. Ids of which a signed object says that they are good
    /// are `vouched`: they need no signature of their own.
    static func examine(
        _ key: ObjectKey, _ repository: Repository, orCopy: Bool = false, vouched: Set<Digest> = []
    ) throws -> Examined {
        let (stored, id) = try storedManifest(key, repository)
        if !vouched.contains(id) { try Signing.verify(stored, repository.sealing.storedKey(key), repository) }
        let bytes: [UInt8]
        if orCopy, !repository.sealing.canRead, let copy = try repository.local.manifest(id) {
            bytes = copy
        } else {
            bytes = try repository.sealing.open(stored, key)
        }
        if let probe = try? CanonicalJSON.decode(FormatProbe.self, from: bytes), probe.format > Manifest.currentFormat {
            return .tooNew(
                LifeboatError(
                    "snapshot '\(id.shortHex)' has format \(probe.format)",
                    hint: "Use a newer lifeboat for this repository."))
        }
        let manifest: Manifest
        do {
            manifest = try Manifest(decoding: bytes)
        } catch {
            throw RepositoryError.damaged(key.text, "it is not the JSON of a manifest")
        }
        guard manifest.format == Manifest.currentFormat, manifest.repositoryID == repository.config.repositoryID else {
            throw RepositoryError.damaged(key.text, "it belongs to another repository")
        }
        guard RepositoryLayout.isStackName(manifest.stack) else {
            throw RepositoryError.damaged(key.text, "it is of a stack that cannot be")
        }
        let snapshot = Snapshot(id: id, manifest: manifest)
        guard RepositoryLayout.manifest(stack: manifest.stack, time: manifest.frozen, id: id) == key else {
            return .misnamed(snapshot, RepositoryError.damaged(key.text, "it belongs to another stack or time"))
        }
        return .snapshot(snapshot)
    }

    private struct FormatProbe: Decodable { var format: Int }

    /// The last snapshot of that stack and host, complete or not: the parent of the next one. By number, since a clock
    /// may have been wrong.
    package func newest(stack: String, host: String) -> Snapshot? {
        snapshots.filter { $0.manifest.stack == stack && $0.manifest.host == host }
            .max { $0.manifest.sequence < $1.manifest.sequence }
    }

    /// For each component name, the component of the newest snapshot of that stack and host that contains data of it:
    /// what the next backup compares it with. A snapshot need not contain every component of its stack. By number, as
    /// `newest`.
    package func newestComponents(stack: String, host: String) -> [String: Manifest.Component] {
        var found: [String: Manifest.Component] = [:]
        let own = snapshots.filter { $0.manifest.stack == stack && $0.manifest.host == host }
        for snapshot in own.sorted(by: { $0.manifest.sequence > $1.manifest.sequence }) {
            for component in snapshot.manifest.components
            where found[component.name] == nil && !component.parts.isEmpty {
                found[component.name] = component
            }
        }
        return found
    }

    /// Seconds that clocks of hosts may differ by: what is dated later than now by more is dated in the future.
    package static let clockTolerance: Int64 = 300

    /// Snapshots that are dated after `now`: the clock of their host was ahead. Ascending by time.
    package func dated(after now: Timestamp, stack: String? = nil) -> [Snapshot] {
        let limit = Self.latest(at: now)
        return snapshots.filter { $0.manifest.frozen > limit && (stack == nil || $0.manifest.stack == stack) }
    }

    /// When the newest snapshot was made that is not dated after `now`; nil when there is none.
    package func newestTime(now: Timestamp) -> Timestamp? {
        let limit = Self.latest(at: now)
        return snapshots.last { $0.manifest.frozen <= limit }?.manifest.frozen
    }

    private static func latest(at now: Timestamp) -> Timestamp {
        let (seconds, overflows) = now.seconds.addingReportingOverflow(clockTolerance)
        return Timestamp(seconds: overflows ? now.seconds : seconds, nanoseconds: now.nanoseconds)
    }

    /// The newest of `candidates` that is complete and not dated after `limit`. Of one host the number counts, whatever
    /// its clock said; between hosts the time.
    package static func newestComplete(_ candidates: [Snapshot], notAfter limit: Timestamp?) -> Snapshot? {
        var newest: [String: Snapshot] = [:]
        for candidate in candidates where candidate.manifest.complete {
            if let limit, candidate.manifest.frozen > limit { continue }
            let chain = "\(candidate.manifest.stack)/\(candidate.manifest.host)"
            if let other = newest[chain], order(candidate) < order(other) { continue }
            newest[chain] = candidate
        }
        return newest.values.max {
            ($0.manifest.frozen, $0.manifest.sequence, $0.id) < ($1.manifest.frozen, $1.manifest.sequence, $1.id)
        }
    }

    /// Of the complete snapshots not dated after `limit` the newest of those that hold most of `components`: all, where
    /// one does. With nil: of what complete snapshots made by the policy of the newest one hold; an ad hoc backup stands
    /// for itself.
    private static func newestComplete(
        _ candidates: [Snapshot], notAfter limit: Timestamp?, holding components: Set<String>?
    ) -> Snapshot? {
        guard let newest = newestComplete(candidates, notAfter: limit) else { return nil }
        let usable = candidates.filter { candidate in
            candidate.manifest.complete && limit.map { candidate.manifest.frozen <= $0 } ?? true
        }
        var wanted = components ?? Set(newest.manifest.components.map(\.name))
        if components == nil, let policy = newest.manifest.policy {
            for snapshot in usable where snapshot.manifest.policy == policy {
                wanted.formUnion(snapshot.manifest.components.map(\.name))
            }
        }
        func held(_ snapshot: Snapshot) -> Int { snapshot.manifest.components.count { wanted.contains($0.name) } }
        let most = usable.map(held).max() ?? 0
        return newestComplete(usable.filter { held($0) == most }, notAfter: limit)
    }

    private static func order(_ snapshot: Snapshot) -> (UInt64, Timestamp, Digest) {
        (snapshot.manifest.sequence, snapshot.manifest.frozen, snapshot.id)
    }

    /// What people type: `latest`, or an id of at least 4 digits. `at` narrows `latest` to what was frozen at or before
    /// that time. With several stacks, `stack` must tell which. A snapshot dated after `now` is found by its id only;
    /// without `now` every date counts.
    ///
    /// `latest` is the newest complete snapshot that holds all of `components`. With nil those are the components of the
    /// stack as its complete snapshots know it: a backup of one component alone is not the newest state of the stack.
    /// When no snapshot holds all of them, it is the newest of those that hold most.
    package func find(
        _ text: String, stack: String? = nil, at time: Timestamp? = nil, now: Timestamp? = nil,
        holding components: Set<String>? = nil
    ) throws -> Snapshot {
        let candidates = snapshots.filter { stack == nil || $0.manifest.stack == stack }
        if text == "latest" || time != nil {
            let stacks = Set(candidates.map(\.manifest.stack))
            guard stacks.count <= 1 else {
                throw LifeboatError(
                    "the repository holds snapshots of \(stacks.count) stacks",
                    causes: [stacks.sorted().joined(separator: ", ")],
                    hint: "Say which one with --stack NAME, or give the id of a snapshot.", exitCode: .usage)
            }
            let limits = [time, now.map(Self.latest)].compactMap(\.self)
            guard
                let newest = Self.newestComplete(candidates, notAfter: limits.min(), holding: components)
            else {
                let limit = time.map { " at or before \($0.rfc3339)" } ?? ""
                throw LifeboatError(
                    "there is no complete snapshot\(stack.map { " of stack '\($0)'" } ?? "")\(limit)",
                    causes: damaged.map(\.message),
                    hint: "List what there is with 'lifeboat snapshots'.",
                    exitCode: damaged.isEmpty ? .failed : .damagedRepository)
            }
            return newest
        }
        guard text.utf8.count >= 4, text.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else {
            throw LifeboatError(
                "'\(text)' is not a snapshot",
                hint: "Give 'latest' or at least 4 digits of an id that 'lifeboat snapshots' lists.", exitCode: .usage)
        }
        let matching = candidates.filter { candidate in
            // Also by an id it had before a rewrap.
            ([candidate.id] + (candidate.manifest.rewrappedFrom ?? [])).contains { $0.hex.hasPrefix(text) }
        }
        guard let match = matching.first else {
            throw LifeboatError(
                "there is no snapshot '\(text)'", causes: damaged.map(\.message),
                hint: "List what there is with 'lifeboat snapshots'.",
                exitCode: damaged.isEmpty ? .failed : .damagedRepository)
        }
        guard matching.count == 1 else {
            throw LifeboatError(
                "'\(text)' names \(matching.count) snapshots", causes: matching.map(\.id.shortHex),
                hint: "Give more digits.", exitCode: .usage)
        }
        return match
    }

    /// Before each short id that a rewrapped snapshot had, in the comment of its signature: what hosts without a key read.
    private static let formerMark = " formerly "

    /// Short ids that rewrapped snapshots of a stack had, by the comments of their signatures, which are verified.
    static func formerShortIDs(_ repository: Repository, stack: String) throws -> Set<String> {
        var former: Set<String> = []
        for object in try repository.objects("\(RepositoryLayout.snapshotPrefix)\(stack)/") {
            do {
                let stored = try storedManifest(object.key, repository).bytes
                let comment = try Signing.comment(stored, repository.sealing.storedKey(object.key), repository)
                former.formUnion(comment.split(separator: formerMark).dropFirst().map { String($0.prefix(12)) })
            } catch let error as LifeboatError where error.exitCode == .damagedRepository {
                // Reported by the listing.
                continue
            }
        }
        return former
    }

    /// Stores a manifest and reads it back: from here on the snapshot exists.
    package static func commit(_ manifest: Manifest, to repository: Repository) throws -> Snapshot {
        let plain = try CanonicalJSON.encode(manifest, pretty: true) + [UInt8(ascii: "\n")]
        // What no reader would take is never written.
        _ = try Manifest(decoding: plain)
        let bytes = try repository.sealing.seal(plain)
        let id = BLAKE3.hash(bytes)
        let key = RepositoryLayout.manifest(stack: manifest.stack, time: manifest.frozen, id: id)
        let storedKey = repository.sealing.storedKey(key)
        if !repository.sealing.canRead { repository.local.keepManifest(plain, id) }
        try Signing.storeSignature(
            of: bytes, storedKey, repository,
            comment: "lifeboat snapshot \(id.shortHex) sequence \(manifest.sequence)"
                + (manifest.rewrappedFrom ?? []).map { "\(formerMark)\($0.shortHex)" }.joined())
        _ = try bytes.withUnsafeBytes { try repository.store.putIfAbsent(storedKey, [$0]) }
        let back = try storedManifest(key, repository)
        try Signing.verify(back.bytes, storedKey, repository)
        guard back.id == id, back.bytes == bytes else {
            throw RepositoryError.damaged(key.text, "it does not read back as written")
        }
        // A host without a key cannot open it: its bytes are those that were sealed.
        let stored = repository.sealing.canRead ? try read(key, repository) : Snapshot(id: id, manifest: manifest)
        repository.remember(stored)
        return stored
    }

    /// Removes a snapshot: its manifest first, which is what makes it exist, then the signature.
    package static func remove(_ key: ObjectKey, from repository: Repository) throws {
        try repository.delete(key)
        _ = try repository.store.delete(RepositoryLayout.signature(of: repository.sealing.storedKey(key)))
    }
}
