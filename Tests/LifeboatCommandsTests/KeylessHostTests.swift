// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

@Suite("A host with recipients only")
struct KeylessHostTests {
    private func fixture(more: String = "") throws -> CommandFixture {
        let fixture = try CommandFixture()
        try fixture.makeDocuments()
        let run = try fixture.run("key", "generate", "identity.txt")
        let recipient = try #require(run.output.split(separator: "\n").first.map(String.init))
        try fixture.write(
            """
            stack: demo
            repository: ./repository
            encryption: {recipients: [\(recipient)]}
            components: {documents: {volume: {path: ./docs}}}
            \(more)

            """, to: "lifeboat.yaml")
        #expect(try fixture.run("repository", "init").exit == 0)
        return fixture
    }

    @Test("tells even with --quiet when nobody runs retention, and with which command to run it")
    func overdueRetention() throws {
        let fixture = try fixture(more: "retention: {last: 3}")
        defer { try? fixture.folder.remove() }
        var warnedOn: [Int] = []
        for day in 1...12 {
            fixture.clock.advance(seconds: 86_400)
            let run = try fixture.run("backup", "--quiet")
            #expect(run.exit == 0, "\(run)")
            if run.error.contains("lifeboat forget --yes --policy") { warnedOn.append(day) }
        }
        // The first one could go on day 4; it is more than eight days old on day 10.
        #expect(warnedOn == [10, 11, 12])
        let forgotten = try fixture.run("forget", "--yes", "--force", "--identity", "identity.txt")
        #expect(forgotten.exit == 0, "\(forgotten)")
        for _ in 1...8 {
            fixture.clock.advance(seconds: 86_400)
            let run = try fixture.run("backup", "--quiet")
            #expect(run.exit == 0 && run.error.isEmpty, "\(run)")
        }
    }

    /// 8 MiB of rows; `changed`: one row in so many differs.
    private func dump(changed: Int?) -> String {
        var random = SplitMix64(seed: 7)
        var text = ""
        for row in 0..<80_000 {
            let word = random.next()
            let value = changed.map { row % $0 == 0 } == true ? word ^ 1 : word
            text += "\(row)\tcustomer \(row % 977)\t\(String(value, radix: 16))\t\(row % 31) pieces of article "
            text += "\(word % 4096)"
            text += String(repeating: " and more", count: Int(word % 5)) + "\n"
        }
        return text
    }

    private func stored(_ run: LifeboatRun) throws -> Int {
        let match = try #require(run.output.firstMatch(of: #/"bytes_stored":(\d+)/#), "\(run)")
        return try #require(Int(match.output.1))
    }

    @Test("stores the second night of a dump as deltas, from copies of the last snapshot and of nothing else")
    func deltas() throws {
        let fixture = try fixture()
        defer { try? fixture.folder.remove() }
        try fixture.write(dump(changed: nil), to: "docs/dump.sql")
        let first = try stored(try fixture.run("backup", "--json"))
        try fixture.write(dump(changed: 50), to: "docs/dump.sql")
        let second = try stored(try fixture.run("backup", "--json"))
        #expect(second * 8 < first, "\(second) of \(first)")
        let copies = try ShellProof.run(
            "find \(fixture.path)/cache/*/bases -type f -printf '%m %s\\n'"
        ).split(separator: "\n")
        #expect(copies.count == 1 && copies[0].hasPrefix("600 "), "\(copies)")
        let size = try ShellProof.run("stat -c %s \(fixture.path)/docs/dump.sql")
        #expect(copies[0].hasSuffix(String(size.dropLast())), "\(copies)")
        // A copy that is another's, cut short or gone is no base, and no harm.
        let damages = [
            "printf x | dd of=$f bs=1 seek=4000000 conv=notrunc 2>&1", "truncate -s 3M $f", "rm $f",
        ]
        for (number, damage) in damages.enumerated() {
            _ = try ShellProof.run("f=$(find \(fixture.path)/cache/*/bases -type f); \(damage)")
            try fixture.write(dump(changed: 40 - number), to: "docs/dump.sql")
            let run = try fixture.run("backup", "--json")
            #expect(run.exit == 0, "\(run)")
        }
        let checked = try fixture.run("check", "--read-data", "--identity", "identity.txt")
        #expect(checked.exit == 0, "\(checked)")
        let restored = try fixture.run("cat", "latest", "documents:/dump.sql", "--identity", "identity.txt")
        #expect(restored.output == dump(changed: 38))
        // What is no longer live is not kept.
        try FileTree.remove("\(fixture.path)/docs/dump.sql")
        #expect(try fixture.run("backup", "--accept-shrink").exit == 0)
        #expect(try ShellProof.run("find \(fixture.path)/cache/*/bases -type f") == "")
    }

    @Test("keeps no copies where the policy says so")
    func noCopies() throws {
        let fixture = try fixture(more: "delta_cache: none")
        defer { try? fixture.folder.remove() }
        try fixture.write(dump(changed: nil), to: "docs/dump.sql")
        #expect(try fixture.run("backup").exit == 0)
        #expect(try ShellProof.run("find \(fixture.path)/cache -path '*bases*' -type f") == "")
    }

    @Test("keeps no more copies than the policy allows")
    func boundedCopies() throws {
        let fixture = try fixture(more: "delta_cache: 3MiB")
        defer { try? fixture.folder.remove() }
        for changed in [nil, 50, 40] {
            try fixture.write(dump(changed: changed), to: "docs/dump.sql")
            #expect(try fixture.run("backup").exit == 0)
            let used = try ShellProof.run("du -sk \(fixture.path)/cache/*/bases | cut -f1")
            #expect(Int(used.dropLast()) ?? .max <= 3 << 10, "\(used)")
        }
        let checked = try fixture.run("check", "--read-data", "--identity", "identity.txt")
        #expect(checked.exit == 0, "\(checked)")
    }
}
