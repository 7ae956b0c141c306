// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatTesting
import Testing

private func ageError(_ body: () throws -> Void) -> AgeError? {
    do { try body() } catch { return error as? AgeError }
    return nil
}

private func reader(_ file: [UInt8], _ keys: [AgeKey]) throws -> AgeReader {
    try file.withUnsafeBytes { try AgeReader(start: $0, keys: keys) }
}

private func range(_ reader: AgeReader, _ file: [UInt8], _ plain: Range<Int>) throws -> [UInt8] {
    let wanted = UInt64(plain.lowerBound)..<UInt64(plain.upperBound)
    let stored = try reader.storedRange(of: wanted, storedSize: UInt64(file.count))
    var target = [UInt8](repeating: 0xEE, count: plain.count)
    try file[Int(stored.lowerBound)..<Int(stored.upperBound)].withUnsafeBytes { stored in
        try target.withUnsafeMutableBytes {
            try reader.open(stored, plain: wanted, storedSize: UInt64(file.count), into: $0)
        }
    }
    return target
}

@Suite struct AgeReadingTests {
    static let identity = (try? AgeIdentity.generate())!  // Only fails without a random generator.
    static let keys = [AgeKey.identity(identity)]
    static let block = 65_536

    private static func file(_ plain: [UInt8]) throws -> [UInt8] {
        try Age.seal(plain, recipients: [identity.recipient])
    }

    @Test func rangesAreReadFromTheBlocksThatCoverThem() throws {
        var generator = SplitMix64(seed: 81)
        for size in [1, Self.block - 1, Self.block, Self.block + 1, 3 * Self.block, 3 * Self.block + 100] {
            let plain = generator.bytes(size)
            let file = try Self.file(plain)
            let reader = try reader(file, Self.keys)
            #expect(try reader.plainSize(storedSize: UInt64(file.count)) == UInt64(size))
            for round in 0..<80 {
                var ends = [
                    0, size, Int.random(in: 0...size, using: &generator), Int.random(in: 0...size, using: &generator),
                ]
                if round % 2 == 0 { ends.append(min(size, Self.block * Int.random(in: 0...3, using: &generator))) }
                ends.shuffle(using: &generator)
                let wanted = min(ends[0], ends[1])..<max(ends[0], ends[1])
                #expect(try range(reader, file, wanted) == Array(plain[wanted]), "\(wanted) of \(size)")
                let stored = try reader.storedRange(
                    of: UInt64(wanted.lowerBound)..<UInt64(wanted.upperBound), storedSize: UInt64(file.count))
                #expect(stored.count <= (wanted.count / Self.block + 2) * (Self.block + 16))
            }
            #expect(throws: AgeError.truncated("its content ends at \(size), before \(size + 1)")) {
                try range(reader, file, 0..<size + 1)
            }
        }
        let empty = try Self.file([])
        #expect(try range(reader(empty, Self.keys), empty, 0..<0) == [])
        let forged = empty.dropLast() + [empty[empty.count - 1] ^ 1]
        #expect(throws: AgeError.self) { try range(reader(Array(forged), Self.keys), Array(forged), 0..<0) }
    }

    @Test func streamingWritesWhatOneShotReads() throws {
        var generator = SplitMix64(seed: 82)
        for size in [0, 1, Self.block - 1, Self.block, Self.block + 1, 2 * Self.block, 3 * Self.block + 5] {
            for pieces in [[1_000_000], [1, 70_000, 65_536, 13], [65_536], [65_535, 1]] {
                let plain = generator.bytes(size)
                let writer = try AgeWriter(recipients: [Self.identity.recipient])
                var file = writer.header
                var position = 0
                var turn = 0
                while position < size {
                    let end = min(size, position + pieces[turn % pieces.count])
                    turn += 1
                    var output = [UInt8](repeating: 0, count: writer.updateSize(end - position))
                    let written = try plain[position..<end].withUnsafeBytes { source in
                        try output.withUnsafeMutableBytes { try writer.update(source, into: $0) }
                    }
                    file += output[..<written]
                    position = end
                }
                var output = [UInt8](repeating: 0, count: AgeWriter.finishSize)
                let written = try output.withUnsafeMutableBytes { try writer.finish(into: $0) }
                file += output[..<written]
                #expect(file.count == writer.header.count + AgeWriter.sealedPayloadSize(size))
                #expect(try Age.open(file, keys: Self.keys) == plain)
            }
        }
    }

    @Test func aFileCutAnywhereIsRefused() throws {
        var generator = SplitMix64(seed: 83)
        let plain = generator.bytes(3 * Self.block + 100)
        let file = try Self.file(plain)
        let payload = file.count - AgeWriter.sealedPayloadSize(plain.count)
        var cuts = Set(0...payload + 40)
        for block in 0...3 {
            for offset in -17...17 { cuts.insert(payload + block * (Self.block + 16) + offset) }
        }
        for _ in 0..<100 { cuts.insert(Int.random(in: 0..<file.count, using: &generator)) }
        for cut in cuts.sorted() where cut < file.count {
            let part = Array(file[..<cut])
            let error = ageError { _ = try Age.open(part, keys: Self.keys) }
            switch error {
            case .header: #expect(cut < payload)
            case .truncated, .payload: #expect(cut >= payload)
            default: Issue.record("cut to \(cut): \(String(describing: error))")
            }
            let (bytes, streamError) =
                (try? AgeStreamReader(PieceSource(part, sizes: [100_000]), keys: Self.keys)).map {
                    drain($0, bufferSize: 70_000)
                } ?? ([], AgeError.needMore)
            #expect(streamError is AgeError, "cut to \(cut)")
            #expect(plain.starts(with: bytes))
        }
        // At a border the reason is known.
        let border = Array(file[..<(payload + 2 * (Self.block + 16))])
        #expect(
            ageError { _ = try Age.open(border, keys: Self.keys) }
                == .truncated("the payload ends after block 1, which is not its last"))
        for count in 0..<payload {
            #expect(ageError { _ = try reader(Array(file[..<count]), Self.keys) } == .needMore)
        }
    }

    @Test func aFlippedBitIsRefusedWhereverItIs() throws {
        var generator = SplitMix64(seed: 84)
        let plain = generator.bytes(2 * Self.block + 100)
        let file = try Self.file(plain)
        let payload = file.count - AgeWriter.sealedPayloadSize(plain.count)
        let offsets =
            Array(0..<payload) + (0..<200).map { _ in Int.random(in: payload..<file.count, using: &generator) }
        for offset in offsets {
            var changed = file
            changed[offset] ^= 1 << UInt8.random(in: 0...7, using: &generator)
            #expect(throws: AgeError.self, "byte \(offset)") { try Age.open(changed, keys: Self.keys) }
        }
    }

    @Test func blocksCannotChangePlaces() throws {
        var generator = SplitMix64(seed: 85)
        let file = try Self.file(generator.bytes(3 * Self.block))
        let sealed = Self.block + 16
        let payload = file.count - 3 * sealed
        let swapped = Array(
            file[..<payload] + file[(payload + sealed)..<(payload + 2 * sealed)] + file[payload..<(payload + sealed)]
                + file[(payload + 2 * sealed)...])
        #expect(
            ageError { _ = try Age.open(swapped, keys: Self.keys) } == .payload("block 0 of the payload is damaged"))
    }

    @Test func wrongKeysAreToldFromDamage() throws {
        let file = try Self.file([1, 2, 3])
        let stranger = try AgeIdentity.generate()
        let wrong: [AgeKey] = [.identity(stranger), .passphrase(Secret("guess"))]
        #expect(ageError { _ = try Age.open(file, keys: wrong) } == .noMatch)
        #expect(AgeError.noMatch.lifeboatError.exitCode == .wrongKey)
        #expect(try Age.open(file, keys: wrong + Self.keys) == [1, 2, 3])

        let sealed = try Age.seal([4, 5], AgeWriter(passphrase: Secret("correct horse"), workFactor: 8))
        #expect(try Age.open(sealed, keys: [.passphrase(Secret("correct horse"))]) == [4, 5])
        #expect(ageError { _ = try Age.open(sealed, keys: wrong + Self.keys) } == .noMatch)
        for workFactor in [0, 23] {
            #expect(throws: AgeError.self) { try AgeWriter(passphrase: Secret("x"), workFactor: workFactor) }
        }
        #expect(ageError { _ = try AgeWriter(recipients: []) } == .key("no recipient to encrypt for"))
    }

    @Test func armorRoundTrips() throws {
        var generator = SplitMix64(seed: 86)
        for size in 0...200 {
            let bytes = generator.bytes(size)
            let armored = AgeArmor.encode(bytes)
            #expect(AgeArmor.isArmored(armored))
            #expect(try AgeArmor.decode(armored) == bytes)
        }
    }
}
