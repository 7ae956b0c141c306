// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatFormats
import LifeboatRepository

/// `lifeboat diff`
struct Diff: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Tell what changed between two snapshots.",
        discussion:
            "Lines start with '+' (added), '-' (removed), 'M' (other content), 'T' (another kind of object) and, "
            + "with --attributes, 'a' (the same content with another mode, owner, time or attribute).")

    @Argument(help: "The older snapshot.")
    var old: String

    @Argument(help: "The newer snapshot.")
    var new: String

    @Flag(name: [.short, .long], help: "Also changes of attributes alone.")
    var attributes = false

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var selection: SnapshotOptions
    @OptionGroup var output: OutputOptions

    var isListing: Bool { true }

    func run(_ session: CommandSession) throws -> ExitCode {
        let repository = try location.openForReading(session, for: .reading)
        let catalog = try SnapshotCatalog.readable(repository, session)
        let before = try selection.find(old, catalog, repository, location, session)
        let after = try selection.find(new, catalog, repository, location, session)
        let reader = try session.reader(repository)
        var comparison = Comparison(session: session, reader: reader, showsAttributes: attributes)
        let names = before.manifest.components.map(\.name)
        let added = after.manifest.components.map(\.name).filter { !names.contains($0) }
        for name in names + added {
            try comparison.compare(before.manifest.component(name), after.manifest.component(name))
        }
        try session.emit(
            DiffSummary(old: before.id.shortHex, new: after.id.shortHex, counts: comparison.counts))
        return .done
    }

    private struct Comparison {
        let session: CommandSession
        let reader: ChunkReader
        let showsAttributes: Bool
        var counts: [String: UInt64] = [:]

        mutating func compare(_ old: Manifest.Component?, _ new: Manifest.Component?) throws {
            let names = (old?.parts.map(\.name) ?? [])
            let added = (new?.parts.map(\.name) ?? []).filter { !names.contains($0) }
            for name in names + added {
                try compare(
                    old.flatMap { component in
                        component.parts.first { $0.name == name }.map { (component, $0) }
                    },
                    new.flatMap { component in
                        component.parts.first { $0.name == name }.map { (component, $0) }
                    })
            }
        }

        private mutating func compare(
            _ old: (component: Manifest.Component, part: Manifest.Part)?,
            _ new: (component: Manifest.Component, part: Manifest.Part)?
        ) throws {
            guard old?.part.kind != .tree, new?.part.kind != .tree else { return try compareTrees(old, new) }
            if old?.part.content == new?.part.content { return }
            let kind: TreeChange.Kind = old == nil ? .added : new == nil ? .removed : .modified
            guard let shown = new ?? old else { return }
            try emit(
                ChangeRow(
                    kind: kind, aspects: [], component: shown.component.name,
                    path: Array("\(shown.component.name):\(shown.part.name)".utf8), oldSize: old?.part.content.size,
                    newSize: new?.part.content.size))
        }

        private mutating func compareTrees(
            _ old: (component: Manifest.Component, part: Manifest.Part)?,
            _ new: (component: Manifest.Component, part: Manifest.Part)?
        ) throws {
            if let old, let new, old.part.content == new.part.content, old.component.source == new.component.source {
                return
            }
            var difference = try TreeDifference(from: entries(old?.part), to: entries(new?.part))
            while let change = try difference.next() {
                try session.cancellation.check()
                guard let side = change.new == nil ? old : new ?? old else { continue }
                let tree = SnapshotTree(component: side.component, part: side.part)
                try emit(
                    ChangeRow(
                        kind: change.kind, aspects: change.aspects, component: side.component.name,
                        path: tree.shownPath(change.path), oldSize: change.old?.size, newSize: change.new?.size))
            }
        }

        private func entries(_ part: Manifest.Part?) throws -> any TreeEntries {
            guard let part, part.kind == .tree else { return NoEntries() }
            return try part.entries(reader)
        }

        private mutating func emit(_ row: ChangeRow) throws {
            counts[row.change, default: 0] += 1
            if row.change == TreeChange.Kind.attributes.rawValue, !showsAttributes { return }
            try session.emit(row)
        }
    }
}

/// The tree of a component that is not there.
private final class NoEntries: TreeEntries {
    func next() throws -> TreeEntry? { nil }
}

/// One difference.
struct ChangeRow: OutputRendering {
    static let messageType = "change"
    let change: String
    let aspects: [String]
    let component: String
    let path: String
    let pathBytes: String?
    let oldSize: UInt64?
    let newSize: UInt64?
    private let shownPath: String
    private let letter: String

    private enum CodingKeys: String, CodingKey {
        case change, aspects, component, path, pathBytes, oldSize, newSize
    }

    init(
        kind: TreeChange.Kind, aspects: [TreeChange.Aspect], component: String, path: [UInt8], oldSize: UInt64?,
        newSize: UInt64?
    ) {
        change = kind.rawValue
        self.aspects = aspects.map(\.word)
        self.component = component
        let name = JSONName(path)
        self.path = name.text
        pathBytes = name.base64
        self.oldSize = oldSize
        self.newSize = newSize
        shownPath = EscapedName.text(path)
        letter =
            switch kind {
            case .added: "+"
            case .removed: "-"
            case .replaced: "T"
            case .modified: "M"
            case .attributes: "a"
            }
    }

    var text: String {
        let detail = aspects.filter { $0 != "content" }
        return "\(letter) \(shownPath)\(detail.isEmpty ? "" : " (\(detail.joined(separator: ", ")))")"
    }
}

extension TreeChange.Aspect {
    /// The word in both outputs.
    fileprivate var word: String {
        switch self {
        case .content: "content"
        case .linkTarget: "link target"
        case .hardLink: "hard link"
        case .device: "device"
        case .mode: "mode"
        case .owner: "owner"
        case .time: "time"
        case .extendedAttributes: "extended attributes"
        case .flags: "flags"
        case .problem: "problem"
        }
    }
}

private struct DiffSummary: OutputRendering {
    static let messageType = "summary"
    let old: String
    let new: String
    let added: UInt64
    let removed: UInt64
    let replaced: UInt64
    let modified: UInt64
    let attributes: UInt64

    init(old: String, new: String, counts: [String: UInt64]) {
        func count(_ kind: TreeChange.Kind) -> UInt64 { counts[kind.rawValue] ?? 0 }
        self.old = old
        self.new = new
        added = count(.added)
        removed = count(.removed)
        replaced = count(.replaced)
        modified = count(.modified)
        attributes = count(.attributes)
    }

    var text: String {
        "\(old) -> \(new): \(grouped(added)) added, \(grouped(removed)) removed, \(grouped(modified)) modified, "
            + "\(grouped(replaced)) of another kind, \(grouped(attributes)) with other attributes only"
    }
}
