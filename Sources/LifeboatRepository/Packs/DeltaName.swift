// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// The name of a tar member that holds a chunk as a patch: `patches/BASE/ID.zst` or `patches/BASE+BASE/ID.zst`. It alone
/// tells the bases, so that indexes can be rebuilt from packs and a patch undone by hand.
enum DeltaName {
    private static let folder = "patches/"
    private static let suffix = ".zst"

    static func text(_ id: Digest, bases: [Digest]) -> String {
        "\(folder)\(bases.map(\.hex).joined(separator: "+"))/\(id.hex)\(suffix)"
    }

    /// Nil when the name is not one of a patch.
    static func parse(_ name: String) -> (id: Digest, bases: [Digest])? {
        guard name.hasPrefix(folder), name.hasSuffix(suffix) else { return nil }
        let parts = name.dropFirst(folder.count).dropLast(suffix.count)
            .split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let id = Digest(hex: parts[1]) else { return nil }
        let texts = parts[0].split(separator: "+", omittingEmptySubsequences: false)
        let bases = texts.compactMap { Digest(hex: $0) }
        guard bases.count == texts.count, (1...IndexFormat.maximumBases).contains(bases.count) else { return nil }
        return (id, bases)
    }
}
