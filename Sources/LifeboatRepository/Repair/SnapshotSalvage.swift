// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats

/// Finds what of a snapshot is lost, and makes the manifest of what is left. Used on one thread.
struct SnapshotSalvage {
    /// What is lost: `<component>:<path>`.
    struct Loss {
        var names: [String] = []
        var count: UInt64 = 0

        mutating func add(_ name: String) {
            count += 1
            if names.count < SnapshotSalvage.nameLimit { names.append(name) }
        }
    }

    /// So many lost paths are named in a manifest.
    static let nameLimit = 10_000

    private let availability: ChunkAvailability
    private let cancellation: Cancellation

    init(_ availability: ChunkAvailability, _ cancellation: Cancellation) {
        self.availability = availability
        self.cancellation = cancellation
    }

    func loss(of snapshot: Snapshot) throws -> Loss {
        var loss = Loss()
        for component in snapshot.manifest.components {
            for part in component.parts { _ = try examine(part, component.name, &loss) { _ in } }
        }
        return loss
    }

    /// The manifest of what is left, and what is not; new trees go into `writer`.
    func rest(of snapshot: Snapshot, into writer: RepositoryWriter) throws -> (manifest: Manifest, loss: Loss) {
        var manifest = snapshot.manifest
        var total = Loss()
        manifest.repairedFrom = (manifest.repairedFrom ?? []) + [snapshot.id]
        manifest.complete = false
        for number in manifest.components.indices {
            var component = manifest.components[number]
            var loss = Loss()
            var parts: [Manifest.Part] = []
            for part in component.parts {
                if let kept = try rest(of: part, &component, &loss, writer) { parts.append(kept) }
            }
            guard loss.count > 0 else { continue }
            component.parts = parts
            component.problems.append(
                "the repository was damaged: \(loss.count) files, streams or pieces of a listing are lost")
            component.problems += loss.names.map { "lost: \($0)" }
            if loss.count > UInt64(loss.names.count) {
                component.problems.append("lost: \(loss.count - UInt64(loss.names.count)) more")
            }
            manifest.components[number] = component
            total.count.addClamped(loss.count)
        }
        return (manifest, total)
    }

    /// The part without what is lost; nil for a stream that is not whole.
    private func rest(
        of part: Manifest.Part, _ component: inout Manifest.Component, _ loss: inout Loss, _ writer: RepositoryWriter
    ) throws -> Manifest.Part? {
        let before = loss.count
        guard part.kind == .tree else {
            if try examine(part, component.name, &loss, { _ in }) { return part }
            component.files -= min(component.files, 1)
            component.bytes -= min(component.bytes, part.content.size)
            return nil
        }
        // Look first: most trees of a damaged snapshot are whole.
        if try examine(part, component.name, &loss, { _ in }) { return part }
        loss.names.removeLast(min(loss.names.count, Int(loss.count - before)))
        loss.count = before
        let target = writer.makeContentWriter()
        var text = MtreeEncoder.header
        var files: UInt64 = 0
        var bytes: UInt64 = 0
        _ = try examine(part, component.name, &loss) { entry in
            files += 1
            bytes.addClamped(entry.content?.size ?? 0)
            MtreeEncoder.append(entry, to: &text)
            guard text.count >= 1 << 18 else { return }
            try text.withUnsafeBytes { try target.append($0) }
            text.removeAll(keepingCapacity: true)
        }
        guard files > 0 else { return nil }
        try text.withUnsafeBytes { try target.append($0) }
        let pending = try target.endContent()
        target.flush()
        component.files = files
        component.bytes = bytes
        return Manifest.Part(name: part.name, kind: .tree, content: try writer.reference(to: pending))
    }

    /// Whether all of the part is there; hands over each entry of a tree that is left.
    private func examine(
        _ part: Manifest.Part, _ component: String, _ loss: inout Loss, _ visit: (TreeEntry) throws -> Void
    ) throws -> Bool {
        let before = loss.count
        let listIsWhole = try availability.isWhole(part.content)
        guard part.kind == .tree else {
            if !listIsWhole { loss.add("\(component):\(part.name)") }
            return listIsWhole
        }
        var lostFiles: Set<[UInt8]> = []
        var seenFiles: Set<[UInt8]> = []
        var hasGap = false
        var found = Loss()
        var last = "its beginning"
        try TreeSalvage(availability.reader).walk(part.content) { item in
            try cancellation.check()
            guard case .entry(let entry) = item else {
                hasGap = true
                found.add("\(component):(unknown files after \(last))")
                return
            }
            let name = "\(component):\(String(decoding: entry.path, as: UTF8.self))"
            last = "'\(String(decoding: entry.path, as: UTF8.self))'"
            if let content = entry.content, try !availability.isWhole(content) {
                lostFiles.insert(entry.path)
                found.add(name)
                return
            }
            if let first = entry.hardLink,
                lostFiles.contains(first) || (!listIsWhole || hasGap) && !seenFiles.contains(first)
            {
                found.add(name)
                return
            }
            if !listIsWhole || hasGap || entry.content != nil { seenFiles.insert(entry.path) }
            try visit(entry)
        }
        // A list that does not add up although all its lines are there.
        if !listIsWhole, found.count == 0 { found.add("\(component):(the end of its listing)") }
        for name in found.names { loss.add(name) }
        loss.count = before + found.count
        return found.count == 0
    }
}
