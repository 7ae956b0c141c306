// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import Synchronization

/// A tree that counts what its walks meet, and knows the databases among it.
final class CountedSource: FileTreeSource {
    private struct Result {
        var counts: VolumeCounts
        var databases: LiveDatabaseWatch
    }

    private let source: any FileTreeSource
    private let rule: LiveDatabaseRule
    /// For messages.
    private let path: String
    private let last = Mutex<Result?>(nil)

    /// `path` names the tree; a `rule` other than `allow` looks for databases in it.
    init(_ source: any FileTreeSource, _ path: String = "", _ rule: LiveDatabaseRule = .allow) {
        self.source = source
        self.path = path
        self.rule = rule
    }

    /// Of the last walk that came to its end.
    var counts: VolumeCounts? { last.withLock { $0?.counts } }

    /// The databases the last walk met.
    var warnings: [LifeboatError] { last.withLock { $0?.databases.warnings(in: path) } ?? [] }

    /// The databases the last walk met that lie in a folder in which files changed after they were listed.
    func torn(_ changes: ChangedFiles) -> [LifeboatError] {
        last.withLock { $0?.databases.found ?? [] }.compactMap { $0.torn(in: path, changes) }
    }

    func walk(_ cancellation: Cancellation) throws -> any FileTreeWalk {
        CountedWalk(try source.walk(cancellation), self, rule)
    }

    fileprivate func ended(_ counts: VolumeCounts, _ databases: LiveDatabaseWatch) {
        last.withLock { $0 = Result(counts: counts, databases: databases) }
    }

    fileprivate func refusal(_ database: LiveDatabase) -> LifeboatError { database.finding(in: path) }
}

private final class CountedWalk: FileTreeWalk {
    private let walk: any FileTreeWalk
    private let source: CountedSource
    private let rule: LiveDatabaseRule
    private var counts = VolumeCounts()
    private var databases = LiveDatabaseWatch()

    init(_ walk: any FileTreeWalk, _ source: CountedSource, _ rule: LiveDatabaseRule) {
        self.walk = walk
        self.source = source
        self.rule = rule
    }

    func next() throws -> FileTreeItem? {
        guard let item = try walk.next() else {
            source.ended(counts, databases)
            return nil
        }
        if item.note != .vanished { counts.add(item.entry) }
        if rule != .allow, let database = databases.examine(item), rule == .refuse,
            database.kind == .postgres(isRunning: true)
        {
            throw source.refusal(database)
        }
        return item
    }

    func complete(_ item: inout FileTreeItem) throws { try walk.complete(&item) }

    func close() { walk.close() }
}

extension VolumeCounts {
    mutating func add(_ entry: TreeEntry) {
        switch entry.kind {
        case .directory: folders += 1
        case .symbolicLink: links += 1
        case .file where entry.hardLink != nil: links += 1
        case .file:
            files += 1
            bytes = bytes.addingReportingOverflow(Int64(clamping: entry.size)).partialValue
        default: specials += 1
        }
    }
}
