// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository
import LifeboatStorage

/// `lifeboat repository info`
struct RepositoryInfo: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "info", abstract: "Tell what a repository is and how much it holds.")

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.open(session, for: .reading)
        let catalog = try SnapshotCatalog.readable(repository, session)
        let packs = try repository.objects(RepositoryLayout.packPrefix)
        let indexes = try repository.objects(RepositoryLayout.indexPrefix)
        let config = repository.config
        let indexSet = try repository.openIndexes(passingOverDamage: true)
        let stacks = Dictionary(grouping: catalog.snapshots, by: \.manifest.stack)
        try session.emit(
            RepositoryInfoReport(
                repository: repository.store.properties.location, repositoryID: config.repositoryID.hex,
                format: config.format, created: config.created, encryption: config.encryption,
                chunkMinimum: config.chunker.minimum, chunkAverage: config.chunker.average,
                chunkMaximum: config.chunker.maximum, snapshots: catalog.snapshots.count,
                damagedSnapshots: catalog.damaged.count,
                stacks: stacks.mapValues(\.count), packs: packs.count,
                packBytes: packs.reduce(0) { $0 + $1.size }, indexes: indexes.count,
                indexBytes: indexes.reduce(0) { $0 + $1.size }, chunks: indexSet.recordCount,
                newest: catalog.newestTime(now: session.context.clock.now())))
        let damaged = catalog.damaged + indexSet.damagedIndexes
        for damage in damaged { try session.problem(damage) }
        return damaged.isEmpty ? .done : .damagedRepository
    }
}

private struct RepositoryInfoReport: OutputRendering {
    static let messageType = "summary"
    let repository: String
    let repositoryID: String
    let format: Int
    let created: Timestamp
    let encryption: String
    let chunkMinimum: Int
    let chunkAverage: Int
    let chunkMaximum: Int
    let snapshots: Int
    let damagedSnapshots: Int
    /// Snapshots by stack.
    let stacks: [String: Int]
    let packs: Int
    let packBytes: UInt64
    let indexes: Int
    let indexBytes: UInt64
    let chunks: Int
    let newest: Timestamp?

    private enum CodingKeys: String, CodingKey {
        case repository, format, created, encryption, chunkMinimum, chunkAverage, chunkMaximum, snapshots
        case damagedSnapshots, stacks, packs, packBytes, indexes, indexBytes, chunks, newest
        case repositoryID = "repository_id"
    }

    var text: String {
        let stackList = stacks.sorted { $0.key < $1.key }.map { "\($0.key) (\($0.value))" }.joined(separator: ", ")
        let chunkSizes = [chunkMinimum, chunkAverage, chunkMaximum].map { "\(ByteCount(UInt64($0)))" }
        return TextTable.fields([
            ("repository", EscapedName.line(repository)),
            ("id", repositoryID),
            ("format", "\(format)"),
            ("created", "\(created.tableText) UTC"),
            ("encryption", encryption),
            ("chunks", "\(grouped(chunks)), of \(chunkSizes.joined(separator: " / ")) (least, average, most)"),
            ("packs", "\(grouped(packs)), \(ByteCount(packBytes))"),
            ("indexes", "\(grouped(indexes)), \(ByteCount(indexBytes))"),
            ("snapshots", grouped(snapshots)),
            ("stacks", stackList.isEmpty ? "none" : stackList),
            ("newest", newest.map { "\($0.tableText) UTC" } ?? "none"),
        ])
    }
}
