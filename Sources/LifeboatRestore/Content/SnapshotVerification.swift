// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
package import LifeboatRepository
package import LifeboatStores

/// Tells, without reading file data, whether every chunk of a snapshot's components can be had: known to an index, in a
/// pack that is present with its right size. Lists and trees are read and verified on the way.
package struct SnapshotVerification {
    private static let namedPaths = 10

    private let reader: ChunkReader
    private let presence: ContentPresence
    private let cancellation: Cancellation
    private var lost: [String] = []
    private var lostCount: UInt64 = 0

    /// `reader` must use an index set restricted to packs that are present.
    package init(_ reader: ChunkReader, _ cancellation: Cancellation) {
        self.reader = reader
        self.cancellation = cancellation
        presence = ContentPresence(reader, rechecking: true)
    }

    /// Throws `damagedRepository` with the first paths that are affected; `wrongKey` where indexes were written for other
    /// readers. `selections`: what of a component counts, by
    /// its name; all of one that is not among them.
    package mutating func verify(
        _ components: [Manifest.Component], only selections: [String: ContentSelection] = [:]
    ) throws {
        for component in components {
            let selection = selections[component.name]
            for part in component.parts where selection?.includes(part) ?? true {
                try cancellation.check()
                guard presence.isComplete(part.content) else {
                    lose("\(component.name)/\(part.name)")
                    continue
                }
                if part.kind == .tree {
                    try verifyTree(part.content, of: component, selection?.trees[part.name] ?? .everything)
                }
            }
        }
        guard lostCount > 0 else { return }
        let more = lostCount > UInt64(lost.count) ? ["and \(lostCount - UInt64(lost.count)) more"] : []
        guard reader.indexSet.unreadable == 0 else {
            throw Sealing.forOtherReaders(
                "data of \(lostCount) file\(lostCount == 1 ? "" : "s") or streams of the snapshot",
                "\(reader.indexSet.unreadable) indexes are not opened by it")
        }
        throw LifeboatError(
            "the repository lacks data of \(lostCount) file\(lostCount == 1 ? "" : "s") or streams of the snapshot",
            causes: lost + more,
            hint: "Nothing was touched. Restore another snapshot, or extract what there is with --to DIR.",
            exitCode: .damagedRepository)
    }

    private mutating func verifyTree(
        _ tree: ContentReference, of component: Manifest.Component, _ selection: PathSelection
    ) throws {
        do {
            let entries = MtreeReader(try ContentSource(reader, tree))
            defer { entries.close() }
            while let entry = try entries.next() {
                guard let content = entry.content, selection.chooses(entry.path) else { continue }
                try cancellation.check()
                if !presence.isComplete(content) { lose(RestorePath.shown(entry.path, in: component.source)) }
            }
        } catch {
            let told = LifeboatError.converting(error)
            if told.exitCode == .interrupted { throw told }
            lose("the listing of \(component.source): \(told.message)")
        }
    }

    private mutating func lose(_ path: String) {
        lostCount += 1
        if lost.count < Self.namedPaths { lost.append(path) }
    }
}

extension ContentSelection {
    /// Whether a part of the snapshot is read at all.
    func includes(_ part: Manifest.Part) -> Bool {
        switch part.kind {
        case .stream: streams.contains(part.name)
        case .tree: trees[part.name] != nil
        }
    }
}
