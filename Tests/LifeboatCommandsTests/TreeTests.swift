// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository
import LifeboatTesting
import Testing

/// Trees in memory, for the functions that walk them.
private final class ListedEntries: TreeEntries {
    private var entries: ArraySlice<TreeEntry>
    private(set) var read = 0

    init(_ entries: [TreeEntry]) { self.entries = entries[...] }

    func next() -> TreeEntry? {
        read += 1
        return entries.popFirst()
    }
}

private func entry(_ path: String, _ kind: TreeEntry.Kind = .file, size: UInt64 = 1, mode: UInt16 = 0o644) -> TreeEntry
{
    var entry = TreeEntry(
        path: Array(path.utf8), kind: kind, mode: mode, userID: 0, groupID: 0,
        modificationTime: Timestamp(seconds: 1000))
    if kind == .file {
        entry.size = size
        entry.content = ContentReference(id: Digest(bigEndianWords: size, 0, 0, 0), depth: 0, size: size)
    }
    return entry
}

private func all(_ entries: any TreeEntries) throws -> [String] {
    var paths: [String] = []
    while let entry = try entries.next() { paths.append(String(decoding: entry.path, as: UTF8.self)) }
    return paths
}

private func changes(_ old: [TreeEntry], _ new: [TreeEntry]) throws -> [String] {
    var difference = try TreeDifference(from: ListedEntries(old), to: ListedEntries(new))
    var lines: [String] = []
    while let change = try difference.next() {
        let aspects = change.aspects.map(\.rawValue).joined(separator: ",")
        lines.append("\(change.kind.rawValue) \(String(decoding: change.path, as: UTF8.self)) \(aspects)")
    }
    return lines
}

struct SubtreeTests {
    private let tree = [
        entry("", .directory), entry("a", .directory), entry("a/b", .directory), entry("a/b/c"), entry("a/z"),
        entry("a.txt"), entry("ab", .directory), entry("ab/x"), entry("z"),
    ]

    @Test(
        arguments: [
            ("", false, ["", "a", "a.txt", "ab", "z"]),
            ("", true, ["", "a", "a/b", "a/b/c", "a/z", "a.txt", "ab", "ab/x", "z"]),
            ("a", false, ["a", "a/b", "a/z"]), ("a", true, ["a", "a/b", "a/b/c", "a/z"]), ("a.txt", true, ["a.txt"]),
            ("a/b", false, ["a/b", "a/b/c"]), ("nosuch", true, []), ("a/b/c/d", true, []),
        ] as [(String, Bool, [String])])
    func holdsWhatIsAtAndBelowAPath(path: String, recursive: Bool, expected: [String]) throws {
        let subtree = Subtree(ListedEntries(tree), at: Array(path.utf8), recursive: recursive)
        #expect(try all(subtree) == expected)
    }

    @Test func readsNoFurtherThanItMust() throws {
        let entries = ListedEntries(tree)
        _ = try all(Subtree(entries, at: Array("a/b".utf8), recursive: true))
        // Up to the first entry behind the folder, not to the end.
        #expect(entries.read == 5)
    }
}

struct TreeDifferenceTests {
    @Test func equalTreesDoNotDiffer() throws {
        let tree = [entry("", .directory), entry("a"), entry("b", .directory), entry("b/c")]
        #expect(try changes(tree, tree).isEmpty)
    }

    @Test func tellsWhatWasAddedRemovedReplacedAndModified() throws {
        let old = [entry("", .directory), entry("a"), entry("b", .directory), entry("b/c"), entry("d"), entry("e")]
        let new = [
            entry("", .directory), entry("a", size: 2), entry("b"), entry("d", mode: 0o600), entry("e"), entry("f"),
        ]
        #expect(
            try changes(old, new) == [
                "modified a content", "replaced b ", "removed b/c ", "attributes d mode", "added f ",
            ])
    }

    @Test func aHardLinkToUnchangedContentIsNoModification() throws {
        var link = entry("b")
        link.content = nil
        link.hardLink = Array("a".utf8)
        let old = [entry("", .directory), entry("a"), entry("b")]
        #expect(try changes(old, [entry("", .directory), entry("a"), link]) == ["attributes b hardLink"])
        link.modificationTime = Timestamp(seconds: 2000)
        #expect(
            try changes(old, [entry("", .directory), entry("a"), link]) == ["modified b content,hardLink,time"])
    }

    @Test func agreesWithAComparisonOfDictionaries() throws {
        var generator = SplitMix64(seed: 11)
        for _ in 0..<200 {
            func tree() -> [TreeEntry] {
                var paths: Set<String> = []
                for _ in 0..<Int(generator.next() % 30) {
                    let depth = 1 + Int(generator.next() % 3)
                    paths.insert(
                        (0..<depth).map { _ in ["a", "b", "a.b", "ab"][Int(generator.next() % 4)] }.joined(
                            separator: "/"))
                }
                return paths.map { entry($0, size: 1 + generator.next() % 2) }.sorted { treeOrder($0.path, $1.path) }
            }
            let old = tree()
            let new = tree()
            let oldSizes = Dictionary(uniqueKeysWithValues: old.map { ($0.path, $0.size) })
            let newSizes = Dictionary(uniqueKeysWithValues: new.map { ($0.path, $0.size) })
            var expected: Set<String> = []
            for (path, size) in oldSizes {
                let name = String(decoding: path, as: UTF8.self)
                if let other = newSizes[path] {
                    if other != size { expected.insert("modified \(name) content") }
                } else {
                    expected.insert("removed \(name) ")
                }
            }
            for path in newSizes.keys where oldSizes[path] == nil {
                expected.insert("added \(String(decoding: path, as: UTF8.self)) ")
            }
            let found = try changes(old, new)
            #expect(Set(found) == expected)
            #expect(found.count == expected.count)
        }
    }
}

struct NamePatternTests {
    @Test(arguments: [
        ("*.txt", "/srv/a/b.txt", true), ("*.txt", "/srv/a.txt/b", false), ("b.txt", "/srv/a/b.txt", true),
        ("/srv/*/b.txt", "/srv/a/b.txt", true), ("/srv/*.txt", "/srv/a/b.txt", false), ("[ab]", "/x/b", true),
        ("B.TXT", "/b.txt", false), ("?", "/\u{E9}", false),
    ])
    func globsMatchNamesOrPaths(pattern: String, path: String, expected: Bool) {
        #expect(NamePattern(pattern).matches(path: Array(path.utf8)) == expected)
    }

    @Test func bytesThatAreNoTextMatchToo() {
        #expect(NamePattern("a*z").matches(path: [0x2F, 0x61, 0xFF, 0x0A, 0x7A]))
        #expect(NamePattern("B.TXT", ignoresCase: true).matches(path: Array("/b.txt".utf8)))
    }
}
