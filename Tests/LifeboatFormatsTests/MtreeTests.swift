// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatTesting
import Testing

@Suite struct MtreeTests {
    private func text(_ entries: [TreeEntry]) -> [UInt8] {
        var text = MtreeEncoder.header
        for entry in entries { MtreeEncoder.append(entry, to: &text) }
        return text
    }

    private func parse(_ text: [UInt8], chunk: Int = .max) throws -> [TreeEntry] {
        var parser = MtreeParser()
        var entries: [TreeEntry] = []
        var start = 0
        while start < text.count {
            let end = chunk >= text.count - start ? text.count : start + chunk
            parser.feed(Array(text[start..<end]))
            while let entry = try parser.next() { entries.append(entry) }
            start = end
        }
        try parser.finish()
        return entries
    }

    private func randomBytes(_ count: Int, excluding: Set<UInt8>, _ random: inout SplitMix64) -> [UInt8] {
        (0..<count).map { _ in
            while true {
                let byte = UInt8.random(in: 0...255, using: &random)
                if !excluding.contains(byte) { return byte }
            }
        }
    }

    private func randomTime(_ random: inout SplitMix64) -> Timestamp {
        let seconds =
            Bool.random(using: &random)
            ? Int64.random(in: .min ... .max, using: &random) : Int64.random(in: -5...2_000_000_000, using: &random)
        return Timestamp(seconds: seconds, nanoseconds: .random(in: 0..<1_000_000_000, using: &random))
    }

    private func randomDigest(_ random: inout SplitMix64) -> Digest {
        Digest(bigEndianWords: random.next(), random.next(), random.next(), random.next())
    }

    private func randomPath(_ random: inout SplitMix64) -> [UInt8] {
        var path: [UInt8] = []
        for index in 0..<Int.random(in: 1...4, using: &random) {
            if index > 0 { path.append(0x2F) }
            var name = randomBytes(.random(in: 1...12, using: &random), excluding: [0, 0x2F], &random)
            if name == [0x2E] || name == [0x2E, 0x2E] { name.append(0x61) }
            path += name
        }
        return path
    }

    private func randomEntry(_ path: [UInt8], _ random: inout SplitMix64) -> TreeEntry {
        let kinds: [TreeEntry.Kind] = [
            .file, .file, .file, .directory, .symbolicLink, .fifo, .socket, .characterDevice, .blockDevice,
        ]
        let kind = kinds.randomElement(using: &random) ?? .file
        var entry = TreeEntry(
            path: path, kind: kind, mode: .random(in: 0...0o7777, using: &random),
            userID: .random(in: 0 ... .max, using: &random), groupID: .random(in: 0 ... .max, using: &random),
            modificationTime: randomTime(&random))
        switch kind {
        case .file:
            entry.size = random.next() >> UInt64.random(in: 0...63, using: &random)
            if Bool.random(using: &random) {
                var offset: UInt64 = 0
                entry.extents = (0..<Int.random(in: 0...5, using: &random)).map { _ in
                    offset += UInt64.random(in: 0...1 << 40, using: &random)
                    let length = UInt64.random(in: 1...1 << 40, using: &random)
                    defer { offset += length }
                    return .init(offset: offset, length: length)
                }
            }
            if Bool.random(using: &random) {
                let size = Bool.random(using: &random) ? entry.contentSize ?? 0 : random.next()
                entry.content = ContentReference(
                    id: randomDigest(&random), depth: .random(in: 0...255, using: &random), size: size)
            }
        case .symbolicLink:
            entry.linkTarget = randomBytes(.random(in: 0...20, using: &random), excluding: [0], &random)
        case .characterDevice, .blockDevice:
            entry.deviceMajor = .random(in: 0 ... .max, using: &random)
            entry.deviceMinor = .random(in: 0 ... .max, using: &random)
        case .directory, .fifo, .socket: break
        }
        if kind != .directory, Int.random(in: 0..<4, using: &random) == 0, !path.isEmpty {
            // Sorts before every other path of these tests.
            entry.hardLink = [0x01]
        }
        if Bool.random(using: &random) {
            entry.changeFacts = .init(inode: random.next(), changeTime: randomTime(&random))
        }
        if Bool.random(using: &random) { entry.fileFlags = .random(in: 0 ... .max, using: &random) }
        let names = Set(
            (0..<Int.random(in: 0...3, using: &random)).map { _ in
                randomBytes(.random(in: 1...20, using: &random), excluding: [0], &random)
            })
        entry.extendedAttributes = names.sorted { $0.lexicographicallyPrecedes($1) }.map {
            .init(name: $0, value: randomBytes(.random(in: 0...40, using: &random), excluding: [], &random))
        }
        if Int.random(in: 0..<4, using: &random) == 0 { entry.problem = "geändert, while = read\n#" }
        return entry
    }

    private func randomTree(_ count: Int, seed: UInt64) -> [TreeEntry] {
        var random = SplitMix64(seed: seed)
        let paths = Set((0..<count).map { _ in randomPath(&random) }.filter { treeOrder([0x01], $0) })
        return ([[]] + paths.sorted(by: treeOrder)).map { randomEntry($0, &random) }
    }

    @Test(arguments: [1, 7, 64, 4096, Int.max])
    func everyEntrySurvivesTheRoundTripInPiecesOfAnySize(chunk: Int) throws {
        let tree = randomTree(400, seed: UInt64(truncatingIfNeeded: chunk))
        let parsed = try parse(text(tree), chunk: chunk)
        #expect(parsed.count == tree.count)
        for (expected, found) in zip(tree, parsed) { #expect(expected == found) }
    }

    @Test func everyByteOfANameSurvives() throws {
        var entries = [
            TreeEntry(
                path: [], kind: .directory, mode: 0o755, userID: 0, groupID: 0,
                modificationTime: Timestamp(seconds: 0))
        ]
        for byte in UInt8.min...UInt8.max where byte != 0 && byte != 0x2F && byte != 0x2E {
            var entry = entries[0]
            entry.path = [byte]
            entries.append(entry)
        }
        #expect(try parse(text(entries)) == entries)
    }

    @Test func aMutatedTextIsReadOrRefusedButNeverTraps() throws {
        let original = text(randomTree(30, seed: 5))
        var random = SplitMix64(seed: 99)
        var refused = 0
        for _ in 0..<4000 {
            var mutated = original
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let at = Int.random(in: 0..<mutated.count, using: &random)
                switch Int.random(in: 0..<5, using: &random) {
                case 0: mutated[at] = .random(in: 0...255, using: &random)
                case 1: mutated[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                case 2: mutated.remove(at: at)
                case 3: mutated.insert(Array("0189afz=,.:+- \n\\/".utf8).randomElement(using: &random) ?? 0, at: at)
                default: mutated.removeSubrange(at..<min(mutated.count, at + Int.random(in: 1...40, using: &random)))
                }
            }
            do { _ = try parse(mutated) } catch is MtreeError { refused += 1 }
        }
        #expect(refused > 3000)
    }

    @Test func everyCutIsNoticed() throws {
        let whole = text(randomTree(8, seed: 3))
        for count in 0..<whole.count where whole[..<count].last != 0x0A || count <= MtreeEncoder.header.count {
            #expect(throws: MtreeError.self) { try parse(Array(whole[..<count])) }
        }
    }

    private static let root = ". type=dir uid=0 gid=0 mode=0755 time=0.000000000\n"
    private static let file = " type=file uid=0 gid=0 mode=0644 time=0.000000000 size=0"

    @Test(arguments: [
        ("", MtreeError.Reason.truncated, 1),
        ("#mtree\n", .truncated, 2),
        ("#mtree v2\n", .notMtree, 1),
        ("#mtree\n./a\(file)\n", .missingRoot, 2),
        ("#mtree\n\n", .badPath, 2),
        ("#mtree\n\(root)/a\(file)\n", .badPath, 3),
        ("#mtree\n\(root)a\(file)\n", .badPath, 3),
        ("#mtree\n\(root)./\(file)\n", .badPath, 3),
        ("#mtree\n\(root)./a//b\(file)\n", .badPath, 3),
        ("#mtree\n\(root)./a/\(file)\n", .badPath, 3),
        ("#mtree\n\(root)./.\(file)\n", .badPath, 3),
        ("#mtree\n\(root)./..\(file)\n", .badPath, 3),
        ("#mtree\n\(root)./a/../b\(file)\n", .badPath, 3),
        ("#mtree\n\(root)./\\056\\056/b\(file)\n", .badPath, 3),
        ("#mtree\n\(root)./a\\000\(file)\n", .badPath, 3),
        ("#mtree\n\(root)../a\(file)\n", .badPath, 3),
        ("#mtree\n\(root)./a\\400\(file)\n", .badEscape, 3),
        ("#mtree\n\(root)./a\\04\(file)\n", .badEscape, 3),
        ("#mtree\n\(root)./a\t\(file)\n", .badEscape, 3),
        ("#mtree\n\(root)./b\(file)\n./a\(file)\n", .outOfOrder, 4),
        ("#mtree\n\(root)./b\(file)\n./b\(file)\n", .outOfOrder, 4),
        ("#mtree\n\(root)./a.b\(file)\n./a/b\(file)\n", .outOfOrder, 4),
        ("#mtree\n\(root)./a\(file) size=0\n", .duplicateKeyword("size"), 3),
        ("#mtree\n\(root)./a\(file) colour=red\n", .unknownKeyword("colour"), 3),
        ("#mtree\n\(root)./a\(file) tags=colour=red\n", .unknownKeyword("colour"), 3),
        ("#mtree\n\(root)./a type=file uid=0 gid=0 mode=0644 size=0\n", .missingKeyword("time"), 3),
        ("#mtree\n\(root)./a type=dir uid=0 gid=0 mode=0644 time=0.000000000 size=0\n", .badValue("size"), 3),
        ("#mtree\n\(root)./a type=link uid=0 gid=0 mode=0644 time=0.000000000\n", .missingKeyword("link"), 3),
        ("#mtree\n\(root)./a type=file uid=4294967296 gid=0 mode=0644\n", .badValue("uid"), 3),
        ("#mtree\n\(root)./a type=file size=18446744073709551616\n", .badValue("size"), 3),
        ("#mtree\n\(root)./a type=file mode=0948\n", .badValue("mode"), 3),
        ("#mtree\n\(root)./a type=file time=9223372036854775808.000000000\n", .badValue("time"), 3),
        ("#mtree\n\(root)./a type=file time=1.5\n", .badValue("time"), 3),
        ("#mtree\n\(root)./a\(file) contents=abc\n", .badValue("contents"), 3),
        ("#mtree\n\(root)./a\(file) tags=hardlink=./a\n", .badHardLink, 3),
        ("#mtree\n\(root)./a\(file) tags=hardlink=.\n", .badHardLink, 3),
        ("#mtree\n\(root)./a\(file) tags=hardlink=./../x\n", .badPath, 3),
        ("#mtree\n\(root)./a\(file) tags=extents=10+5:12+1\n", .badValue("extents"), 3),
        ("#mtree\n\(root)./a\(file) tags=extents=ffffffffffffffff+2\n", .badValue("extents"), 3),
        ("#mtree\n\(root)./a\(file) tags=extents=0+0\n", .badValue("extents"), 3),
        ("#mtree\n\(root)./a\(file) tags=xattr.user.a=QQ\n", .badValue("xattr"), 3),
        ("#mtree\n\(root)./a\(file) tags=xattr.b=,xattr.a=\n", .duplicateKeyword("xattr"), 3),
        ("#mtree\n\(root)./a\(file)", .truncated, 3),
    ])
    func aMalformedLineIsNamed(text: String, reason: MtreeError.Reason, line: Int) {
        #expect(throws: MtreeError(reason, line: line)) { try parse(Array(text.utf8)) }
    }

    @Test func anEndlessLineIsRefusedBeforeMemoryIs() throws {
        var parser = MtreeParser()
        parser.feed(MtreeEncoder.header)
        let piece = [UInt8](repeating: 0x61, count: 1 << 20)
        #expect(throws: MtreeError(.lineTooLong, line: 2)) {
            for _ in 0..<32 {
                parser.feed(piece)
                _ = try parser.next()
            }
        }
    }
}
