// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository
import LifeboatStores

/// A tree of a snapshot, and how the paths in it are shown.
struct SnapshotTree {
    let component: Manifest.Component
    let part: Manifest.Part

    /// The path people see: the folder that was backed up, then the path below it; `COMPONENT:PATH` where the tree is no
    /// single folder of the host.
    func shownPath(_ path: [UInt8]) -> [UInt8] {
        guard component.source.hasPrefix("/") else { return Array("\(component.name):".utf8) + path }
        let root = Array(component.source.utf8)
        if path.isEmpty { return root }
        return root.last == 0x2F ? root + path : root + [0x2F] + path
    }
}

/// A place in a snapshot that a user named.
enum SnapshotPlace {
    /// A path in a tree; empty for its root.
    case tree(SnapshotTree, path: PathText)
    case stream(Manifest.Component, Manifest.Part)
}

/// A path below the root of a tree as it was typed. Names that are no text are typed as `ls` prints them.
struct PathText: Equatable {
    let verbatim: [UInt8]
    /// What the text stands for when its escapes are undone; nil when there are none.
    let unescaped: [UInt8]?

    init(_ text: Substring) {
        var path = text
        while path.first == "/" { path.removeFirst() }
        while path.last == "/" { path.removeLast() }
        verbatim = Array(path.utf8)
        unescaped = path.contains("\\") ? EscapedName.bytes(String(path)) : nil
    }

    var isRoot: Bool { verbatim.isEmpty }
    /// Most likely first.
    var candidates: [[UInt8]] { [verbatim] + (unescaped.map { [$0] } ?? []) }
}

/// Finds places in a snapshot by what people type.
struct SnapshotPlaces {
    let snapshot: Snapshot

    var trees: [SnapshotTree] {
        snapshot.manifest.components.flatMap { component in
            component.parts.filter { $0.kind == .tree }.map { SnapshotTree(component: component, part: $0) }
        }
    }

    /// `COMPONENT`, `COMPONENT:PATH`, `COMPONENT:PART`, an absolute path as it was on the host, or a path below the
    /// root of the only tree, the project's files aside.
    func place(_ text: String) throws -> SnapshotPlace {
        if text.hasPrefix("/") {
            if let place = absolute(text) { return place }
            throw missing(text, "it is in none of the folders this snapshot holds")
        }
        if let component = snapshot.manifest.component(text) { return try root(of: component, text) }
        if let colon = text.firstIndex(of: ":"), let component = snapshot.manifest.component(String(text[..<colon])) {
            return try inside(component, text[text.index(after: colon)...], text)
        }
        let folders = trees.filter { $0.component.store != ProjectStore.kind }
        guard folders.count == 1 else {
            throw missing(text, "it names no component, and the snapshot holds \(counted(folders.count, "folder"))")
        }
        return .tree(folders[0], path: PathText(text[...]))
    }

    private func root(of component: Manifest.Component, _ text: String) throws -> SnapshotPlace {
        if let tree = trees.first(where: { $0.component.name == component.name }) {
            return .tree(tree, path: PathText(""))
        }
        guard component.parts.count == 1, let part = component.parts.first else {
            let names = component.parts.map { "\(component.name):\($0.name)" }.joined(separator: ", ")
            throw missing(
                text, component.parts.isEmpty ? "that component holds nothing" : "it has the parts \(names)")
        }
        return .stream(component, part)
    }

    private func inside(_ component: Manifest.Component, _ rest: Substring, _ text: String) throws -> SnapshotPlace {
        if let part = component.parts.first(where: { $0.kind == .stream && $0.name == rest }) {
            return .stream(component, part)
        }
        let candidates = trees.filter { $0.component.name == component.name }
        guard let tree = candidates.first else { throw missing(text, "the component has no part of that name") }
        return .tree(tree, path: PathText(rest))
    }

    /// The tree whose root is the longest one that holds `text`.
    private func absolute(_ text: String) -> SnapshotPlace? {
        var best: (tree: SnapshotTree, rest: Substring)?
        for tree in trees {
            var root = tree.component.source[...]
            while root.last == "/" { root.removeLast() }
            guard text.hasPrefix(root) else { continue }
            let rest = text.dropFirst(root.count)
            guard rest.isEmpty || rest.first == "/" else { continue }
            if let best, best.rest.utf8.count <= rest.utf8.count { continue }
            best = (tree, rest)
        }
        return best.map { .tree($0.tree, path: PathText($0.rest)) }
    }

    func missing(_ text: String, _ reason: String) -> LifeboatError {
        LifeboatError(
            "'\(text)' is not in snapshot \(snapshot.id.shortHex)", causes: [reason],
            hint: "See what it holds with 'lifeboat ls \(snapshot.id.shortHex)'.")
    }
}
