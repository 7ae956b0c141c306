// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatTesting
import Testing

/// Debian's `age` and `age-keygen` against lifeboat, a thousand files each way.
@Suite struct AgeToolTests {
    static let count = 1000
    /// Around the ends of blocks and of headers.
    static let borders = [
        0, 1, 15, 16, 17, 65_519, 65_520, 65_535, 65_536, 65_537, 65_552, 65_553, 131_071, 131_072, 131_073, 131_104,
        196_607, 196_608, 196_609,
    ]

    /// Slices of one pool: making all bytes anew would take most of the time.
    private struct Contents {
        var generator: SplitMix64
        let pool: [UInt8]

        init(seed: UInt64) {
            generator = SplitMix64(seed: seed)
            pool = generator.bytes(400_000)
        }

        mutating func next(_ index: Int) -> [UInt8] {
            let size =
                index % 4 == 0
                ? AgeToolTests.borders[index / 4 % AgeToolTests.borders.count]
                : Int.random(in: 0...(index % 4 == 1 ? 200_000 : 5000), using: &generator)
            let start = Int.random(in: 0...pool.count - size, using: &generator)
            return Array(pool[start..<start + size])
        }
    }

    private static func read(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: path))) }

    private static func write(_ bytes: [UInt8], _ path: String) throws {
        try Data(bytes).write(to: URL(filePath: path))
    }

    @Test func ageOpensAThousandFilesOfLifeboat() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let path = folder.path
        _ = try OutsideTool.run("age-keygen", ["-o", "\(path)/key"])
        let theirs = try #require(try AgeIdentityFile.parse(Self.read("\(path)/key")).first)
        let other = try AgeIdentity.generate()
        var contents = Contents(seed: 1001)
        var written: [[UInt8]] = []
        for index in 0..<Self.count {
            let plain = contents.next(index)
            let recipients = [[theirs.recipient], [other.recipient, theirs.recipient]][index % 2]
            let file = try Age.seal(plain, recipients: recipients)
            try Self.write(index % 5 == 0 ? AgeArmor.encode(file) : file, "\(path)/\(index).age")
            written.append(plain)
        }
        let loop = "for i in $(seq 0 $1); do age -d -i \"$0/key\" \"$0/$i.age\" >\"$0/$i.out\" || exit 1; done"
        _ = try OutsideTool.run("sh", ["-c", loop, path, String(Self.count - 1)])
        for (index, plain) in written.enumerated() {
            #expect(try Self.read("\(path)/\(index).out") == plain, "file \(index), \(plain.count) bytes")
        }
    }

    @Test func lifeboatOpensAThousandFilesOfAge() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let path = folder.path
        let identity = try AgeIdentity.generate()
        var contents = Contents(seed: 1002)
        var written: [[UInt8]] = []
        for index in 0..<Self.count {
            written.append(contents.next(index))
            try Self.write(written[index], "\(path)/\(index)")
        }
        let loop =
            "for i in $(seq 0 $2); do [ $((i % 5)) -eq 0 ] && a=-a || a=; "
            + "age $a -r \"$1\" -o \"$0/$i.age\" \"$0/$i\" || exit 1; done"
        _ = try OutsideTool.run("sh", ["-c", loop, path, identity.recipient.text, String(Self.count - 1)])
        for (index, plain) in written.enumerated() {
            let file = try Self.read("\(path)/\(index).age")
            #expect(AgeArmor.isArmored(file) == (index % 5 == 0))
            #expect(try Age.open(file, keys: [.identity(identity)]) == plain, "file \(index), \(plain.count) bytes")
        }
    }

    @Test func ageKeygenReadsIdentityFilesOfLifeboat() throws {
        let identity = try AgeIdentity.generate()
        let file = AgeIdentityFile.render(identity, created: Timestamp(seconds: 1_800_000_000))
        #expect(try OutsideTool.run("age-keygen", ["-y"], input: file).lines == [identity.recipient.text])
        let parsed = try AgeIdentityFile.parse(file)
        #expect(parsed.map(\.recipient) == [identity.recipient])
        #expect(parsed.first?.secret() == identity.secret())
    }
}
