// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStorage

/// Examines a repository from its objects alone, trusting neither the local cache nor any earlier check.
///
/// The structure check reads config, indexes, manifests and trees and asks for every pack by name and size; with data
/// the packs, or a sample of them, are read and decoded too. It collects problems and goes on, and throws only when it
/// cannot work at all.
package struct RepositoryChecker {
    private let repository: Repository
    private let progress: any ProgressSink
    private let cancellation: Cancellation
    private let threads: Int

    /// `threads` read packs at once.
    package init(
        _ repository: Repository, threads: Int, progress: any ProgressSink, cancellation: Cancellation
    ) {
        self.repository = repository
        self.threads = max(1, threads)
        self.progress = progress
        self.cancellation = cancellation
    }

    package func run(readData: Bool) throws -> CheckReport { try run(readData ? .all : .none) }

    package func run(_ coverage: DataCoverage) throws -> CheckReport {
        var reading = Reading()
        var before = try present()
        for _ in 1..<Self.attempts {
            let report = try examine(coverage, &reading)
            guard !report.isHealthy else { return report }
            // A prune, a forget or a repair that replaces things meanwhile can look like damage: only what remains
            // while nothing changes is reported.
            try cancellation.check()
            let now = try present()
            guard now != before else { return report }
            before = now
        }
        return try examine(coverage, &reading)
    }

    /// Bounds what others can make this wait for.
    private static let attempts = 10

    /// Names of all that is replaced or removed while a repository is in use.
    private func present() throws -> Set<ObjectKey> {
        let prefixes = [
            RepositoryLayout.indexPrefix, RepositoryLayout.snapshotPrefix, RepositoryLayout.condemnedPrefix,
            RepositoryLayout.pinPrefix, RepositoryLayout.forgottenPrefix, RepositoryLayout.drillPrefix,
        ]
        return try Set(prefixes.flatMap { try repository.store.listAll(prefix: $0).map(\.key) })
    }

    /// What was read of the packs: it is not read again when the rest is looked at once more.
    private struct Reading {
        /// The packs of the sample, once it was chosen.
        var sample: [Digest]?
        var sound: Set<Digest> = []
        var bytes: UInt64 = 0
    }

    /// In the order in which nothing that a backup stores meanwhile can be missed: it stores packs, then the index that
    /// names them, then the manifest that needs them.
    private func examine(_ coverage: DataCoverage, _ reading: inout Reading) throws -> CheckReport {
        var report = CheckReport(coverage)
        try checkConfig(&report)
        try checkReadme(&report)
        let seen = try SnapshotCatalog.seen(repository)
        let manifests = try SnapshotCatalog.keys(repository)
        let condemned = try repository.condemnedPacks()
        let indexes = try openIndexes(&report)
        let packs = try listPacks(&report)
        var suspects = try checkPacks(indexes, packs, condemned.union(repository.condemnedPacks()), &report)
        try noteForeignObjects(&report)
        let set = try repository.indexSet(of: indexes)
        // What was read of each index so far is not needed soon.
        for index in indexes { index.forgetPages() }
        switch coverage {
        case .none: break
        case .all: suspects.formUnion(try readPacks(packs.keys.sorted(), packs, set, &reading, &report))
        case .sample(let percent):
            let rotation = SampleRotation(folder: repository.localFolder)
            let names = (reading.sample ?? rotation.selection(packs, percent: percent)).filter { packs[$0] != nil }
            reading.sample = names
            suspects.formUnion(try readPacks(names, packs, set, &reading, &report))
            if let last = names.last {
                do {
                    try rotation.remember(last)
                } catch {
                    // The next run takes its turn from a random place.
                    repository.local.health.report(error)
                }
            }
        }
        var snapshots = SnapshotCheck(
            repository, indexes: set, suspects: suspects, progress: progress, cancellation: cancellation)
        try snapshots.run(manifests, seen: seen, &report)
        let records = RecordCheck(repository)
        for problem in try records.problems() + records.missingPins(SnapshotCatalog(repository)) {
            report.addProblem(problem.key.text, problem.reason)
        }
        for problem in try WrappedIdentity.problems(in: repository.store) + RecoveryKey.problems(of: repository) {
            report.addProblem(problem.key.text, problem.reason)
        }
        return report
    }

    /// Whether this host trusts the configuration, and whether it carries the signature of one of its own signers.
    private func checkConfig(_ report: inout CheckReport) throws {
        let object = RepositoryLayout.config.text
        if let distrust = repository.distrust {
            report.addProblem(object, "\(distrust.message): \(distrust.summary)", hint: distrust.hint)
        }
        if let reason = try repository.configSignatureProblem() {
            let hint =
                repository.distrust == nil
                ? "Run 'lifeboat repair --yes' on a host that trusts the repository: it signs the configuration anew."
                : nil
            report.addProblem(try repository.configSignatureKey().text, reason, hint: hint)
        }
    }

    private func checkReadme(_ report: inout CheckReport) throws {
        let key = RepositoryLayout.readme
        do {
            switch RepositoryReadme.version(of: try repository.store.get(key, limit: 1 << 20)) {
            case .current: break
            case .earlier:
                report.notes.append(
                    "'\(key)' is the help text of an earlier lifeboat; 'lifeboat repair --yes' writes the present one")
            case .unknown:
                report.addProblem(key.text, "it is not a text that this or an earlier lifeboat writes there")
            }
        } catch {
            report.addProblem(key.text, error.readingRepositoryObject(key).summary)
        }
    }

    /// Size of every pack the store lists.
    private func listPacks(_ report: inout CheckReport) throws -> [Digest: UInt64] {
        var packs: [Digest: UInt64] = [:]
        for object in try repository.objects(RepositoryLayout.packPrefix) {
            if let name = RepositoryLayout.packName(object.key) {
                packs[name] = object.size
            } else {
                report.notes.append("'\(object.key)' is not the name of a pack")
            }
        }
        report.packs = UInt64(packs.count)
        return packs
    }

    /// Reads every index as the store has it; gives the sound ones. Listed until nothing new shows, since a prune may
    /// put one in the place of others meanwhile.
    private func openIndexes(_ report: inout CheckReport) throws -> [MappedIndex] {
        var sound: [MappedIndex] = []
        var listed: Set<ObjectKey> = []
        for _ in 0..<Self.attempts {
            let new = try repository.objects(RepositoryLayout.indexPrefix).filter { listed.insert($0.key).inserted }
            if new.isEmpty { break }
            for object in new {
                try cancellation.check()
                guard let name = RepositoryLayout.indexName(object.key) else {
                    report.notes.append("'\(object.key)' is not the name of an index")
                    continue
                }
                do {
                    let index = try repository.openStoredIndex(name)
                    report.indexes += 1
                    if let problem = try index.structuralProblem() {
                        report.addProblem(object.key.text, problem)
                        continue
                    }
                    index.forgetPages()
                    sound.append(index)
                    report.chunks += UInt64(index.chunkCount)
                } catch {
                    // Replaced since it was listed: that is no damage.
                    guard try repository.exists(object.key) else { continue }
                    report.indexes += 1
                    report.addProblem(object.key.text, LifeboatError.converting(error).summary)
                }
            }
        }
        return sound
    }

    /// Asks for the packs that indexes name; gives those that are not as they say.
    private func checkPacks(
        _ indexes: [MappedIndex], _ packs: [Digest: UInt64], _ condemned: Set<Digest>, _ report: inout CheckReport
    ) throws -> Set<Digest> {
        var indexed: Set<Digest> = []
        var suspects: Set<Digest> = []
        for index in indexes {
            for pack in (0..<index.packCount).map(index.pack) {
                indexed.insert(pack.name)
                let key = repository.packName(pack.name)
                let size = packs[pack.name]
                guard size != pack.storedSize else { continue }
                suspects.insert(pack.name)
                // A prune is about to drop the index too. What a snapshot needs of it is reported with the snapshot.
                if size == nil, condemned.contains(pack.name) { continue }
                report.addProblem(
                    key, size.map { "it has \($0) bytes, not the \(pack.storedSize) an index says" } ?? "it is missing")
            }
        }
        let orphans = packs.keys.count { !indexed.contains($0) }
        if orphans > 0 {
            report.notes.append(
                orphans == 1
                    ? "1 pack is in no index: a backup that did not finish left it, or its index is damaged"
                    : "\(orphans) packs are in no index: a backup that did not finish left them, or their index is "
                        + "damaged")
        }
        return suspects
    }

    private func noteForeignObjects(_ report: inout CheckReport) throws {
        let folders = [
            RepositoryLayout.packPrefix, RepositoryLayout.indexPrefix, RepositoryLayout.snapshotPrefix, "keys/",
            RepositoryLayout.drillPrefix, RepositoryLayout.leasePrefix, RepositoryLayout.condemnedPrefix,
            RepositoryLayout.pinPrefix, RepositoryLayout.unpinnedPrefix, RepositoryLayout.forgottenPrefix,
        ]
        var foreign: [ObjectKey] = []
        var setAside: [UInt64] = []
        var token: ObjectPageToken?
        repeat {
            let page = try repository.store.list(prefix: "", after: token, limit: 1000)
            for object in page.objects {
                if object.key.text.hasPrefix(RepositoryLayout.damagedPrefix) {
                    setAside.append(object.size)
                } else if object.key != RepositoryLayout.config, object.key != RepositoryLayout.readme,
                    !folders.contains(where: { object.key.text.hasPrefix($0) })
                {
                    foreign.append(object.key)
                }
            }
            token = page.next
        } while token != nil && foreign.count < 1000
        report.notes += foreign.prefix(10).map { "'\($0)' is not part of the repository" }
        if foreign.count > 10 { report.notes.append("\(foreign.count - 10) or more other objects are not part of it") }
        if !setAside.isEmpty {
            report.notes.append(
                "\(setAside.count) objects with \(ByteCount(setAside.reduce(0, +))) that a repair took out of use are "
                    + "kept in '\(RepositoryLayout.damagedPrefix)'")
        }
    }

    /// Reads packs on several threads and holds the indexes against them; gives those that are damaged or wrongly
    /// indexed.
    private func readPacks(
        _ names: [Digest], _ packs: [Digest: UInt64], _ indexes: IndexSet, _ reading: inout Reading,
        _ report: inout CheckReport
    ) throws -> Set<Digest> {
        struct Found: Sendable {
            var damaged: [Digest: String] = [:]
            var wrongIndexes: [Digest: Digest] = [:]
            var suspects: Set<Digest> = []
        }
        let names = names.filter { !reading.sound.contains($0) }
        let audit = IndexAudit(indexes.all)
        // Every thread has buffers for a frame besides.
        let reader = ChunkReader(repository, indexes, cacheLimit: 16 << 20)
        let found = Monitor(Found())
        let packReading = PackReading(
            repository: repository, threads: threads, progress: progress, cancellation: cancellation)
        reading.bytes += try packReading.run(names, packs) { name, verdict in
            switch verdict {
            case .damaged(let reason):
                found.withLock { found in
                    found.damaged[name] = reason
                    found.suspects.insert(name)
                }
            case .sound(let contents):
                if let reason = PackExaminer.deltaProblem(in: contents, reader) {
                    found.withLock { found in
                        found.damaged[name] = reason
                        found.suspects.insert(name)
                    }
                }
                for finding in try audit.findings(on: contents) where finding.isWrong {
                    found.withLock { found in
                        found.wrongIndexes[finding.index] = name
                        found.suspects.insert(name)
                    }
                }
            }
        }
        let done = found.withLock { $0 }
        reading.sound.formUnion(names.filter { !done.suspects.contains($0) })
        report.bytesRead = reading.bytes
        report.packsRead = UInt64(reading.sound.count + done.suspects.count)
        for (name, reason) in done.damaged.sorted(by: { $0.key < $1.key }) {
            // A prune deleted it since it was listed.
            if try !repository.exists(RepositoryLayout.pack(name)),
                try repository.condemnedPacks().contains(name)
            {
                continue
            }
            report.addProblem(repository.packName(name), reason)
        }
        for (index, pack) in done.wrongIndexes.sorted(by: { $0.key < $1.key }) {
            report.addProblem(
                RepositoryLayout.index(index).text,
                "it says of pack '\(pack.shortHex)' what that pack does not have")
        }
        return done.suspects
    }
}

extension LifeboatError {
    /// The innermost reason, for a report that names the object itself.
    var summary: String { causes.last ?? message }
}
