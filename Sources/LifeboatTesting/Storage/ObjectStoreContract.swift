// SPDX-License-Identifier: Apache-2.0

import LifeboatIO
package import LifeboatStorage

/// A sentence of a contract that an implementation breaks.
package struct ContractViolation: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// What every `ObjectStore` must do, sentence by sentence of its documentation. Each check wants a store that is empty
/// below any prefix it uses: give it a new one.
package struct ObjectStoreContract: Sendable, CustomStringConvertible {
    package let description: String
    package let check: @Sendable (any ObjectStore) throws -> Void

    /// All checks; a test runs each over a new store.
    package static let all: [ObjectStoreContract] = [
        ObjectStoreContract("pieces become one object, in order", piecesBecomeOneObject),
        ObjectStoreContract("putIfAbsent stores once and says so", putIfAbsentStoresOnce),
        ObjectStoreContract("put replaces", putReplaces),
        ObjectStoreContract("a range is read exactly or refused", rangesAreExact),
        ObjectStoreContract("get returns all of it within the limit", getKeepsToTheLimit),
        ObjectStoreContract("stat tells the size, or nil", statTellsTheSize),
        ObjectStoreContract("a listing is in bytewise order and keeps to its prefix", listingKeepsOrderAndPrefix),
        ObjectStoreContract("pages of any size add up to the listing", pagesAddUp),
        ObjectStoreContract("a listing goes on when objects vanish and come", listingSurvivesChanges),
        ObjectStoreContract("delete removes and says so", deleteRemoves),
        ObjectStoreContract("the part of a key before a slash is no object", foldersAreNoObjects),
        ObjectStoreContract("of racing putIfAbsents exactly one stores", racingPutIfAbsent),
        ObjectStoreContract("a replaced object is the old one or the new one", replacingIsAtomic),
        ObjectStoreContract("threads do not disturb each other", threadsAreIndependent),
    ]

    private init(_ description: String, _ check: @escaping @Sendable (any ObjectStore) throws -> Void) {
        self.description = description
        self.check = check
    }

    // MARK: - Words of the checks

    private static func expect(_ condition: Bool, _ sentence: @autoclosure () -> String) throws {
        if !condition { throw ContractViolation(sentence()) }
    }

    private static func expect(
        _ kind: StorageError.Kind, _ sentence: String, _ body: () throws -> Void
    ) throws {
        do {
            try body()
        } catch let error as StorageError {
            return try expect(error.kind == kind, "\(sentence): \(kind) expected, got \(error)")
        }
        throw ContractViolation("\(sentence): \(kind) expected, nothing thrown")
    }

    private static func key(_ text: String) throws -> ObjectKey {
        guard let key = ObjectKey(text) else { throw ContractViolation("'\(text)' is a key") }
        return key
    }

    private static func withPieces<Result>(
        _ pieces: [[UInt8]], _ body: ([UnsafeRawBufferPointer]) throws -> Result
    ) rethrows -> Result {
        var copies: [UnsafeMutableRawBufferPointer] = []
        defer { for copy in copies { copy.deallocate() } }
        for piece in pieces {
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: piece.count, alignment: 1)
            copy.copyBytes(from: piece)
            copies.append(copy)
        }
        return try body(copies.map { UnsafeRawBufferPointer($0) })
    }

    private static func put(_ store: any ObjectStore, _ text: String, _ bytes: [UInt8]...) throws {
        let key = try key(text)
        try withPieces(bytes) { try store.put(key, $0) }
    }

    private static func putIfAbsent(_ store: any ObjectStore, _ text: String, _ bytes: [UInt8]...) throws -> Bool {
        let key = try key(text)
        return try withPieces(bytes) { try store.putIfAbsent(key, $0) }
    }

    private static func get(_ store: any ObjectStore, _ text: String) throws -> [UInt8] {
        try store.get(try key(text), limit: 1 << 30)
    }

    private static func read(
        _ store: any ObjectStore, _ text: String, _ offset: UInt64, _ count: Int
    ) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: count)
        let key = try key(text)
        try bytes.withUnsafeMutableBytes { try store.read(key, at: offset, into: $0) }
        return bytes
    }

    // MARK: - The checks

    private static func piecesBecomeOneObject(_ store: any ObjectStore) throws {
        var random = SplitMix64(seed: 1)
        let large = random.bytes(3 << 20)
        let cases: [(String, [[UInt8]])] = [
            ("p/none", []), ("p/empty", [[]]), ("p/one", [[1]]), ("p/several", [[1, 2], [], [3], [4, 5, 6]]),
            ("p/large", [Array(large[..<1_000_001]), Array(large[1_000_001...])]),
            ("p/many", (0..<3000).map { [UInt8(truncatingIfNeeded: $0)] }),
        ]
        for (name, pieces) in cases {
            let expected = pieces.flatMap { $0 }
            for (suffix, conditional) in [("", true), ("-put", false)] {
                let key = try key(name + suffix)
                let stored = try withPieces(pieces) { pieces -> Bool in
                    if conditional { return try store.putIfAbsent(key, pieces) }
                    try store.put(key, pieces)
                    return true
                }
                try expect(stored, "a new object \(key) is stored")
                try expect(try get(store, key.text) == expected, "\(key) holds its pieces in order")
                try expect(try store.stat(key)?.size == UInt64(expected.count), "\(key) has the size of its pieces")
            }
        }
    }

    private static func putIfAbsentStoresOnce(_ store: any ObjectStore) throws {
        try expect(try putIfAbsent(store, "a/x", [1, 2, 3]), "the first putIfAbsent stores")
        try expect(try !putIfAbsent(store, "a/x", [1, 2, 3]), "the second with the same bytes does not")
        try expect(try !putIfAbsent(store, "a/x", [9]), "nor one with other bytes")
        try expect(try get(store, "a/x") == [1, 2, 3], "the object stays as it was")
        try put(store, "a/y", [4])
        try expect(try !putIfAbsent(store, "a/y", [5]), "an object of put counts")
        _ = try store.delete(try key("a/x"))
        try expect(try putIfAbsent(store, "a/x", [7]), "after a delete it is absent")
        try expect(try get(store, "a/x") == [7], "and stored anew")
    }

    private static func putReplaces(_ store: any ObjectStore) throws {
        for bytes in [[1, 2, 3, 4], [5], [], [6, 7]] as [[UInt8]] {
            try put(store, "config.json", bytes)
            try expect(try get(store, "config.json") == bytes, "put replaces whatever was there")
        }
        try expect(try store.listAll(prefix: "").count == 1, "there is still one object")
    }

    private static func rangesAreExact(_ store: any ObjectStore) throws {
        var random = SplitMix64(seed: 2)
        let bytes = random.bytes(100_000)
        try put(store, "r/object", bytes)
        try put(store, "r/empty", [])
        for (offset, count) in [(0, 0), (0, 1), (0, 100_000), (99_999, 1), (100_000, 0), (4096, 4096), (65_535, 2)] {
            try expect(
                try read(store, "r/object", UInt64(offset), count) == Array(bytes[offset..<offset + count]),
                "\(count) bytes at \(offset) are those")
        }
        try expect(try read(store, "r/empty", 0, 0) == [], "nothing of an empty object")
        for (offset, count) in [
            (0, 100_001), (99_999, 2), (100_000, 1), (100_001, 0), (UInt64(1) << 40, 1), (UInt64(Int64.max), 1),
            (UInt64.max, 1), (UInt64.max, 0), (UInt64.max - 5, 10),
        ] as [(UInt64, Int)] {
            try expect(.rangeNotSatisfiable, "\(count) bytes at \(offset) of 100000") {
                _ = try read(store, "r/object", offset, count)
            }
        }
        try expect(.rangeNotSatisfiable, "a byte of an empty object") { _ = try read(store, "r/empty", 0, 1) }
        try expect(.notFound, "a range of nothing") { _ = try read(store, "r/missing", 0, 1) }
        try expect(.notFound, "an empty range of nothing") { _ = try read(store, "missing/r", 0, 0) }
    }

    private static func getKeepsToTheLimit(_ store: any ObjectStore) throws {
        try put(store, "g/x", [1, 2, 3])
        try put(store, "g/empty", [])
        let key = try key("g/x")
        try expect(try store.get(key, limit: 3) == [1, 2, 3], "an object of the limit's size is returned")
        try expect(try store.get(key, limit: .max) == [1, 2, 3], "there may be no limit")
        try expect(.full, "an object beyond the limit") { _ = try store.get(key, limit: 2) }
        try expect(.full, "an object beyond a limit of nothing") { _ = try store.get(key, limit: 0) }
        try expect(try get(store, "g/empty") == [], "an empty object is empty")
        try expect(.notFound, "no object") { _ = try get(store, "g/y") }
        try expect(.notFound, "no object in no folder") { _ = try get(store, "h/i/y") }
    }

    private static func statTellsTheSize(_ store: any ObjectStore) throws {
        let key = try key("s/x")
        try expect(try store.stat(key) == nil, "nothing is nil")
        try put(store, "s/x", [1, 2, 3, 4, 5])
        try expect(try store.stat(key) == ObjectInfo(key: key, size: 5), "an object has its key and size")
        try put(store, "s/x", [])
        try expect(try store.stat(key) == ObjectInfo(key: key, size: 0), "an empty object is there")
    }

    /// Shares prefixes in every way; `-`, `.`, `/`, `0` follow each other in ASCII.
    private static let listed = [
        "L/a+b", "L/a-", "L/a-b/c", "L/a.b", "L/a/0", "L/a/b/c/d", "L/a/b/c0", "L/a/bb", "L/a0", "L/aa/x", "L/ab",
        "L/b/a", "L/b/b", "LL", "M/A", "M/Z", "M/_", "M/a", "m", "packs/00/000", "packs/00/001", "packs/0f/0ff",
    ]

    private static func fill(_ store: any ObjectStore) throws {
        var random = SplitMix64(seed: 3)
        for (index, text) in listed.enumerated().shuffled(using: &random) {
            try put(store, text, [UInt8](repeating: 1, count: index))
        }
    }

    private static func listingKeepsOrderAndPrefix(_ store: any ObjectStore) throws {
        try expect(try store.listAll(prefix: "") == [], "an empty store lists nothing")
        try fill(store)
        let prefixes =
            ["", "L", "L/", "L/a", "L/a/", "L/a/b", "L/a/b/", "L/a-", "L/ab", "LL", "M/", "packs/0", "packs/00/001"]
            + ["nothing", "L/a/b/c/d/e", "packs//", "/", "../", "./", "L/../L/", "m/", "\u{0}", "é"]
        for prefix in prefixes {
            let page = try store.list(prefix: prefix, after: nil, limit: 1000)
            let expected = listed.enumerated().filter { $1.hasPrefix(prefix) }
            try expect(
                page.objects.map(\.key.text) == expected.map { $1 }, "'\(prefix)' lists its objects: \(page.objects)")
            try expect(page.objects.map(\.size) == expected.map { UInt64($0.offset) }, "'\(prefix)' lists sizes")
            try expect(page.next == nil, "'\(prefix)' has one page")
        }
    }

    private static func pagesAddUp(_ store: any ObjectStore) throws {
        try fill(store)
        for prefix in ["", "L/", "L/a", "packs/", "m"] {
            let expected = listed.filter { $0.hasPrefix(prefix) }
            for limit in 1...listed.count + 1 {
                var keys: [String] = []
                var token: ObjectPageToken?
                repeat {
                    let page = try store.list(prefix: prefix, after: token, limit: limit)
                    try expect(page.objects.count <= limit, "a page holds at most \(limit)")
                    try expect(
                        !page.objects.isEmpty || page.next == nil, "a page with a next one holds something")
                    keys += page.objects.map(\.key.text)
                    token = page.next
                } while token != nil && keys.count <= listed.count
                try expect(keys == expected, "'\(prefix)' in pages of \(limit): \(keys)")
            }
        }
    }

    private static func listingSurvivesChanges(_ store: any ObjectStore) throws {
        try fill(store)
        let first = try store.list(prefix: "L/", after: nil, limit: 5)
        try expect(first.objects.map(\.key.text) == Array(listed[..<5]), "the first page")
        // What the page ended with goes, something before and something behind it comes.
        _ = try store.delete(try key("L/a/0"))
        try put(store, "L/a+0", [1])
        try put(store, "L/a/b/c/e", [1])
        let rest = try store.list(prefix: "L/", after: first.next, limit: 100)
        let expected = (listed[5...].filter { $0.hasPrefix("L/") } + ["L/a/b/c/e"]).sorted()
        try expect(rest.objects.map(\.key.text) == expected, "the rest is there once: \(rest.objects)")
    }

    private static func deleteRemoves(_ store: any ObjectStore) throws {
        let key = try key("d/e/x")
        try expect(try !store.delete(key), "there is nothing to remove")
        try put(store, "d/e/x", [1])
        try put(store, "d/e/y", [2])
        try expect(try store.delete(key), "an object is removed")
        try expect(try store.stat(key) == nil, "then it is gone")
        try expect(.notFound, "then it cannot be read") { _ = try get(store, "d/e/x") }
        try expect(try store.listAll(prefix: "d").map(\.key.text) == ["d/e/y"], "then it is not listed")
        try expect(try !store.delete(key), "it cannot be removed again")
        try expect(try get(store, "d/e/y") == [2], "its neighbour stays")
        try put(store, "d/e/x", [3])
        try expect(try get(store, "d/e/x") == [3], "the name can be used again")
    }

    private static func foldersAreNoObjects(_ store: any ObjectStore) throws {
        try put(store, "f/g/x", [1])
        for text in ["f", "f/g"] {
            try expect(try store.stat(try key(text)) == nil, "\(text) is no object")
            try expect(.notFound, "reading \(text)") { _ = try get(store, text) }
            try expect(.notFound, "reading a range of \(text)") { _ = try read(store, text, 0, 1) }
            try expect(try !store.delete(try key(text)), "\(text) cannot be removed")
        }
        try expect(try get(store, "f/g/x") == [1], "what is in it stays")
    }

    private static func racingPutIfAbsent(_ store: any ObjectStore) throws {
        let writers = 6
        for round in 0..<15 {
            let wins = Monitor<[UInt8]>([])
            let name = "race/\(round)/x"
            try runConcurrently(
                (0..<UInt8(writers)).map { writer in
                    (
                        "race \(writer)",
                        {
                            let half = [UInt8](repeating: writer, count: 40_000)
                            if try putIfAbsent(store, name, half, half) {
                                wins.update { (wins: inout [UInt8]) in wins.append(writer) }
                            }
                            // Whoever lost finds the whole object there.
                            try expect(
                                try get(store, name).count == 80_000, "after a putIfAbsent the object is complete")
                        }
                    )
                })
            let winners = wins.withLock { (wins: inout [UInt8]) in wins }
            try expect(winners.count == 1, "of \(writers) writers one stores, not \(winners.count)")
            try expect(
                try get(store, name) == [UInt8](repeating: winners[0], count: 80_000), "the object is the winner's")
        }
        try expect(try store.listAll(prefix: "race/").count == 15, "nothing else is left behind")
    }

    private static func replacingIsAtomic(_ store: any ObjectStore) throws {
        try put(store, "lease", [UInt8](repeating: 0, count: 50_000))
        try runConcurrently(
            (0..<2).map { writer in
                (
                    "replace \(writer)",
                    {
                        for round in 1...25 {
                            try put(store, "lease", [UInt8](repeating: UInt8(round * 2 + writer), count: 50_000))
                        }
                    }
                )
            }
                + (0..<2).map { reader in
                    (
                        "read \(reader)",
                        {
                            for _ in 1...100 {
                                let bytes = try get(store, "lease")
                                try expect(
                                    bytes.count == 50_000 && bytes.allSatisfy { $0 == bytes[0] },
                                    "an object is never a mixture")
                            }
                        }
                    )
                })
    }

    private static func threadsAreIndependent(_ store: any ObjectStore) throws {
        try runConcurrently(
            (0..<4).map { thread in
                (
                    "thread \(thread)",
                    {
                        var random = SplitMix64(seed: UInt64(thread))
                        for round in 0..<20 {
                            let name = "t/\(round % 5)/\(thread)-\(round)"
                            let bytes = random.bytes(5000 + round)
                            try expect(try putIfAbsent(store, name, bytes), "\(name) is stored")
                            try expect(try get(store, name) == bytes, "\(name) holds its own bytes")
                            try expect(try read(store, name, 7, 100) == Array(bytes[7..<107]), "so does a range")
                            let listed = try store.listAll(prefix: name)
                            try expect(listed.contains { $0.key.text == name }, "\(name) is listed at once")
                            if round % 3 == 0 { try expect(try store.delete(try key(name)), "\(name) is removed") }
                        }
                    }
                )
            })
        try expect(try store.listAll(prefix: "t/").count == 4 * 13, "all that was not removed is there")
    }
}
