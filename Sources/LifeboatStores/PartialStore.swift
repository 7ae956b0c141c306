// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// What a store reads of a component's content that restores named parts of it.
package struct ContentSelection: Sendable, Equatable {
    /// Names of streams.
    package var streams: Set<String> = []
    /// Paths by the name of the tree.
    package var trees: [String: PathSelection] = [:]
    /// Plain bytes and files of all of it.
    package var bytes: UInt64 = 0
    package var files: UInt64 = 0
    /// The facts of the snapshot that are about it.
    package var facts = StoreFacts()

    package init() {}
}

/// A store that can be made for named parts of its component: paths, collections. All that a restore asks of such an
/// instance is about these parts; the rest of the live data it leaves alone. Its subject names them.
package protocol PartialStore: DataStore {
    /// What it reads of this content; nil: all of it, it is made for no parts. Throws when a part is not in the snapshot.
    func selection(of content: any RestoreContent) throws -> ContentSelection?
}

/// Names of parts as people read them.
enum PartNames {
    private static let shown = 3

    /// `collection 'a'`, `collections 'a' and 'b'`, `paths 'a', 'b', 'c' and 4 more`.
    static func text(_ names: [String], _ noun: String) -> String {
        let quoted = names.prefix(shown).map { "'\($0)'" }
        let more = names.count - quoted.count
        let list =
            more > 0
            ? "\(quoted.joined(separator: ", ")) and \(more) more"
            : quoted.count < 2
                ? quoted.joined() : "\(quoted.dropLast().joined(separator: ", ")) and \(quoted[quoted.count - 1])"
        return "\(noun)\(names.count == 1 ? "" : "s") \(list)"
    }

    /// A part that the snapshot does not hold. `all`: what it holds instead.
    static func missing(_ name: String, _ noun: String, of subject: String, among all: [String]) -> LifeboatError {
        let hint: String
        if let nearest = NearestWord.nearest(to: name, among: all) {
            hint = "Did you mean '\(nearest)'?"
        } else {
            hint = "'lifeboat show' and 'lifeboat ls' tell what a snapshot holds."
        }
        let known = all.sorted().prefix(10).map { "'\($0)'" }.joined(separator: ", ")
        return LifeboatError(
            "the snapshot holds no \(noun) '\(name)' of \(subject)",
            causes: all.isEmpty ? [] : ["it holds \(known)\(all.count > 10 ? " and \(all.count - 10) more" : "")"],
            hint: hint, exitCode: .usage)
    }
}
