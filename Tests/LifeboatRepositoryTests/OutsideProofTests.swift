// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatRepository
import LifeboatTesting
import Testing

/// What lifeboat writes, read by Debian's tools alone.
@Suite struct OutsideProofTests {
    private func shell(_ script: String, in folder: String) throws -> ProcessResult {
        try SystemProcessRunner().run(
            ProcessCommand("bash", ["-euc", "set -o pipefail\n\(script)"], workingDirectory: folder), deadline: 60)
    }

    @Test func zstdAndTarListPacksAndB3sumConfirmEveryName() throws {
        let fixture = try RepositoryFixture()
        defer { fixture.remove() }
        var random = SplitMix64(seed: 11)
        var contents = (0..<200).map { Array("small file \($0)".utf8) }
        contents.append(random.bytes(6_000_000))
        contents.append([UInt8](repeating: 65, count: 3_000_000))
        _ = try fixture.store(contents)
        let result = try shell(
            """
            for pack in packs/*/*.tar.zst; do
                test "$(basename "$pack" .tar.zst)" = "$(b3sum --no-names "$pack")"
                zstd -dc "$pack" | tar -tf - > /dev/null
                mkdir -p ../out && zstd -dc "$pack" | tar -C ../out -xf -
            done
            cd ../out
            b3sum -- * | awk '$1 != $2 {bad = 1} END {print NR; exit bad}'
            """, in: fixture.root)
        #expect(result.termination == .exited(0), "\(result.standardError)")
        let members = Int(String(decoding: result.standardOutput, as: UTF8.self).split(separator: "\n")[0]) ?? 0
        #expect(members > 200)
    }

    /// Runs the program in README.txt, and gets single contents back: a large and a small file, and a table.
    @Test func theRecipeOfTheReadmeRecoversFiles() throws {
        let fixture = try RepositoryFixture()
        defer { fixture.remove() }
        var random = SplitMix64(seed: 12)
        // A table that was stored on three days: deltas of deltas.
        var table = DeltaTable(rows: 12_000, seed: 12)
        var tableContent: ContentReference?
        for _ in 1...3 {
            table.move(share: 0.01)
            tableContent = try fixture.store(table.bytes, parent: tableContent).reference
        }
        let deltas = try fixture.repository.openIndexes()
        let deepest = try fixture.chunks(of: try #require(tableContent)).map { try deltas.deltaDepth(of: $0, limit: 4) }
        #expect(deepest.max() == 2)
        let files = [
            "large.bin": random.bytes(9_000_000), "small.txt": Array("hello\n".utf8), "table.dump": table.bytes,
        ]
        var text = MtreeEncoder.header
        for (name, bytes) in files.sorted(by: { $0.key < $1.key }) {
            var entry = TreeEntry(
                path: Array(name.utf8), kind: .file, mode: 0o644, userID: 0, groupID: 0,
                modificationTime: Timestamp(seconds: 1))
            entry.size = UInt64(bytes.count)
            entry.content = try fixture.store([bytes]).references[0]
            MtreeEncoder.append(entry, to: &text)
        }
        let tree = try fixture.store([text]).references[0]
        let result = try shell(
            """
            content() { perl -x repository/README.txt content "$1" "$2" work; }
            perl -x repository/README.txt unpack repository work ''
            content \(tree.id) \(tree.depth) > tree.mtree
            bsdtar -tf tree.mtree > listing
            for name in large.bin small.txt table.dump; do
                line=$(grep -F "./$name " tree.mtree)
                id=$(sed 's/.* contents=\\([0-9a-f]*\\).*/\\1/' <<< "$line")
                depth=$(sed 's/.*tags=depth=\\([0-9]*\\).*/\\1/' <<< "$line")
                content "$id" "$depth" > "$name"
            done
            cat listing
            """, in: fixture.folder.path)
        #expect(result.termination == .exited(0), "\(result.standardError)")
        let printed = String(decoding: result.standardOutput, as: UTF8.self)
        #expect(printed.contains("\nUNPACK PASSED: "))
        #expect(printed.hasSuffix("./large.bin\n./small.txt\n./table.dump\n"))
        for (name, bytes) in files {
            let compare = try shell("b3sum --no-names \(name)", in: fixture.folder.path)
            let sum = String(decoding: compare.standardOutput, as: UTF8.self).split(separator: "\n")[0]
            #expect(String(sum) == BLAKE3.hash(bytes).hex)
        }
    }

    /// One stored delta, undone by hand.
    @Test func zstdPatchFromUndoesADelta() throws {
        let fixture = try RepositoryFixture(chunker: RepositoryFixture.deltaChunker)
        defer { fixture.remove() }
        var table = DeltaTable(rows: 4_000, seed: 13)
        let first = try fixture.store(table.bytes, parent: nil)
        table.change(share: 0.01)
        let second = try fixture.store(table.bytes, parent: first.reference)
        #expect(second.statistics.deltas > 0)
        let result = try shell(
            """
            mkdir ../out
            for pack in packs/*/*.tar.zst; do zstd -dc "$pack" | tar -C ../out -x; done
            cd ../out
            count=0
            for patch in patches/*/*.zst; do
                bases=$(basename "$(dirname "$patch")" | tr + ' ')
                cat $bases > prefix
                zstd -dq --patch-from=prefix "$patch" -o chunk -f
                test "$(b3sum --no-names chunk).zst" = "$(basename "$patch")"
                count=$((count + 1))
            done
            echo $count
            """, in: fixture.root)
        #expect(result.termination == .exited(0), "\(result.standardError)")
        #expect(String(decoding: result.standardOutput, as: UTF8.self) == "\(second.statistics.deltas)\n")
    }
}
