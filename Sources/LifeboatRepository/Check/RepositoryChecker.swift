// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStorage

/// Examines a repository from its objects alone, trusting neither the local cache nor any earlier check.
///
/// The structure check reads config, indexes, manifests and trees and asks for every pack by name and size; with
/// `readData` every pack is read and decoded too. It collects problems and goes on, and throws only when it cannot work
/// at all.
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

    package func run(readData: Bool) throws -> CheckReport {
        var report = CheckReport(readData: readData)
        try checkReadme(&report)
        let packs = try listPacks(&report)
        var (indexes, suspects) = try checkIndexes(packs, &report)
        try noteForeignObjects(&report)
        if readData { suspects.formUnion(try readPacks(packs, indexes, &report)) }
        var snapshots = SnapshotCheck(
            repository, indexes: indexes, suspects: suspects, progress: progress, cancellation: cancellation)
        try snapshots.run(&report)
        return report
    }

    private func checkReadme(_ report: inout CheckReport) throws {
        let key = RepositoryLayout.readme
        do {
            guard try repository.store.get(key, limit: 1 << 20) != Array(RepositoryReadme.text.utf8) else { return }
            report.addProblem(key.text, "it is not the text that format 1 has there")
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

    /// Reads every index as the store has it, and asks for the packs it names. Gives the sound indexes, and the packs
    /// that are not as they say.
    private func checkIndexes(
        _ packs: [Digest: UInt64], _ report: inout CheckReport
    ) throws -> (IndexSet, suspects: Set<Digest>) {
        var sound: [MappedIndex] = []
        var indexed: Set<Digest> = []
        var suspects: Set<Digest> = []
        let condemned = try repository.condemnedPacks()
        for object in try repository.objects(RepositoryLayout.indexPrefix) {
            try cancellation.check()
            guard let name = RepositoryLayout.indexName(object.key) else {
                report.notes.append("'\(object.key)' is not the name of an index")
                continue
            }
            report.indexes += 1
            do {
                let index = try repository.openStoredIndex(name)
                for position in 0..<index.chunkCount { _ = try index.location(at: position) }
                sound.append(index)
                report.chunks += UInt64(index.chunkCount)
                for pack in (0..<index.packCount).map(index.pack) where indexed.insert(pack.name).inserted {
                    let key = RepositoryLayout.pack(pack.name).text
                    let size = packs[pack.name]
                    guard size != pack.storedSize else { continue }
                    suspects.insert(pack.name)
                    // A prune is about to drop the index too. What a snapshot needs of it is told with the snapshot.
                    if size == nil, condemned.contains(pack.name) { continue }
                    report.addProblem(
                        key,
                        size.map { "it has \($0) bytes, not the \(pack.storedSize) the index says" } ?? "it is missing")
                }
            } catch {
                report.addProblem(object.key.text, LifeboatError.converting(error).summary)
            }
        }
        let orphans = packs.keys.count { !indexed.contains($0) }
        if orphans > 0 {
            report.notes.append(
                "\(orphans) packs are in no index: a backup that did not finish left them, or their index is damaged")
        }
        return (IndexSet(sound), suspects)
    }

    private func noteForeignObjects(_ report: inout CheckReport) throws {
        let folders = [
            RepositoryLayout.packPrefix, RepositoryLayout.indexPrefix, RepositoryLayout.snapshotPrefix, "keys/",
            RepositoryLayout.drillPrefix, RepositoryLayout.leasePrefix, RepositoryLayout.condemnedPrefix,
            RepositoryLayout.pinPrefix, RepositoryLayout.forgottenPrefix,
        ]
        var foreign: [ObjectKey] = []
        var token: ObjectPageToken?
        repeat {
            let page = try repository.store.list(prefix: "", after: token, limit: 1000)
            foreign += page.objects.map(\.key).filter { key in
                key != RepositoryLayout.config && key != RepositoryLayout.readme
                    && !folders.contains { key.text.hasPrefix($0) }
            }
            token = page.next
        } while token != nil && foreign.count < 1000
        report.notes += foreign.prefix(10).map { "'\($0)' is not part of the repository" }
        if foreign.count > 10 { report.notes.append("\(foreign.count - 10) or more other objects are not part of it") }
    }

    /// Reads every pack on several threads; gives those that are damaged.
    private func readPacks(
        _ packs: [Digest: UInt64], _ indexes: IndexSet, _ report: inout CheckReport
    ) throws -> Set<Digest> {
        let names = packs.keys.sorted()
        let bytesTotal = packs.values.reduce(0, +)
        struct Progressing: Sendable {
            var next = 0
            var bytesRead: UInt64 = 0
            var problems: [Digest: String] = [:]
        }
        let state = Monitor(Progressing())
        let reader = ChunkReader(repository, indexes)
        let bodies = (0..<threads).map { number in
            (
                name: "check-\(number)",
                body: { @Sendable [repository, cancellation, progress] () throws -> Void in
                    let examiner = try PackExaminer(repository)
                    while true {
                        try cancellation.check()
                        let position = state.withLock { state -> Int in
                            defer { state.next += 1 }
                            return state.next
                        }
                        guard position < names.count else { return }
                        let name = names[position]
                        let problem = try examiner.problem(of: name, indexes, reader)
                        var counters = ProgressCounters()
                        counters.bytesTotal = bytesTotal
                        counters.bytesDone = state.withLock { state in
                            state.problems[name] = problem
                            state.bytesRead += packs[name] ?? 0
                            return state.bytesRead
                        }
                        progress.report(.counters(counters))
                    }
                }
            )
        }
        try runConcurrently(bodies) { cancellation.cancel() }
        let done = state.withLock { $0 }
        report.bytesRead = done.bytesRead
        for (name, reason) in done.problems.sorted(by: { $0.key < $1.key }) {
            report.addProblem(RepositoryLayout.pack(name).text, reason)
        }
        return Set(done.problems.keys)
    }
}

extension LifeboatError {
    /// The innermost reason, for a report that names the object itself.
    var summary: String { causes.last ?? message }
}
