// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatTesting
import Testing

private func sign(_ data: [UInt8], _ key: MinisignSecretKey, _ comment: String) throws -> [UInt8] {
    try data.withUnsafeBytes { try key.sign($0, trustedComment: comment) }
}

private func verify(_ data: [UInt8], _ key: MinisignPublicKey, _ signature: [UInt8]) throws -> String {
    try data.withUnsafeBytes { try key.verify($0, signature: signature) }
}

private func failure(_ body: () throws -> Void) -> MinisignError? {
    do { try body() } catch { return error as? MinisignError }
    return nil
}

@Suite struct MinisignTests {
    static let sizes = [0, 1, 127, 128, 129, 65_536, 1_000_003]

    @Test func minisignVerifiesWhatLifeboatSigned() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        var generator = SplitMix64(seed: 71)
        for size in Self.sizes {
            let key = try MinisignSecretKey.generate()
            let data = generator.bytes(size)
            let comment = "sequence:\(size)\tpath:snapshots/größe"
            let signature = try sign(data, key, comment)
            #expect(try verify(data, key.publicKey, signature) == comment)
            try Data(data).write(to: URL(filePath: "\(folder.path)/f"))
            try Data(signature).write(to: URL(filePath: "\(folder.path)/f.minisig"))
            try Data(key.publicKey.fileText.utf8).write(to: URL(filePath: "\(folder.path)/k.pub"))
            let byText = try OutsideTool.run("minisign", ["-VQm", "\(folder.path)/f", "-P", key.publicKey.text])
            #expect(byText.lines == [comment])
            let byFile = try OutsideTool.run("minisign", ["-VQm", "\(folder.path)/f", "-p", "\(folder.path)/k.pub"])
            #expect(byFile.lines == [comment])
        }
    }

    @Test func lifeboatVerifiesWhatMinisignSignedAlsoWithALifeboatKey() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let path = folder.path
        var generator = SplitMix64(seed: 72)
        _ = try OutsideTool.run("minisign", ["-GWf", "-p", "\(path)/theirs.pub", "-s", "\(path)/theirs.key"])
        let own = try MinisignSecretKey.generate()
        try own.encoded().reveal { try Data($0.utf8).write(to: URL(filePath: "\(path)/own.key")) }
        let theirs = try MinisignSecretKey(
            Secret(String(contentsOfFile: "\(path)/theirs.key", encoding: .utf8)))
        let theirPublicKey = try MinisignPublicKey(
            file: [UInt8](Data(contentsOf: URL(filePath: "\(path)/theirs.pub"))))
        #expect(theirs.publicKey == theirPublicKey)
        #expect(try String(contentsOfFile: "\(path)/theirs.pub", encoding: .utf8) == theirPublicKey.fileText)

        for size in Self.sizes {
            let data = generator.bytes(size)
            try Data(data).write(to: URL(filePath: "\(path)/f"))
            for (file, key) in [("theirs.key", theirs), ("own.key", own)] {
                _ = try OutsideTool.run("minisign", ["-Sm", "\(path)/f", "-s", "\(path)/\(file)", "-t", "a comment"])
                let signature = [UInt8](try Data(contentsOf: URL(filePath: "\(path)/f.minisig")))
                #expect(try verify(data, key.publicKey, signature) == "a comment")
                // Ed25519 is deterministic: but for the untrusted comment it is the same file.
                let same = try sign(data, key, "a comment")
                #expect(same.drop { $0 != 0x0A } == signature.drop { $0 != 0x0A })
            }
        }
        // The kind without a hash.
        _ = try OutsideTool.run("minisign", ["-Slm", "\(path)/f", "-s", "\(path)/own.key"])
        let old = [UInt8](try Data(contentsOf: URL(filePath: "\(path)/f.minisig")))
        #expect(
            failure { _ = try verify([], own.publicKey, old) }
                == .unsupported("unsupported minisign signature: it is of the old kind, without a hash"))
    }

    @Test func keysSurviveTheirTextForms() throws {
        let key = try MinisignSecretKey.generate()
        let copy = try MinisignSecretKey(key.encoded())
        #expect(copy.publicKey == key.publicKey)
        #expect(copy.encoded() == key.encoded())
        #expect(try MinisignPublicKey(key.publicKey.text) == key.publicKey)
        #expect(try MinisignPublicKey(file: Array(key.publicKey.fileText.utf8)) == key.publicKey)
        #expect(key.publicKey.keyID.count == 16)
        #expect(try sign([1], copy, "c") == sign([1], key, "c"))
    }

    @Test func forgeriesAreNamed() throws {
        let key = try MinisignSecretKey.generate()
        let other = try MinisignSecretKey.generate()
        let data = Array("the manifest".utf8)
        let signature = try sign(data, key, "sequence:1")
        #expect(
            failure { _ = try verify(data, other.publicKey, signature) }
                == .otherKey(expected: other.publicKey.keyID, found: key.publicKey.keyID))
        #expect(failure { _ = try verify(data + [0], key.publicKey, signature) } == .forged)
        let replaced = String(decoding: signature, as: UTF8.self).replacing("sequence:1", with: "sequence:2")
        #expect(failure { _ = try verify(data, key.publicKey, Array(replaced.utf8)) } == .forgedComment)
        // The comment of one signature under another.
        let lines = signature.split(separator: 0x0A)
        let later = try sign(Array("another".utf8), key, "sequence:2").split(separator: 0x0A)
        let mixed = Array([lines[0], lines[1], later[2], later[3]].joined(separator: [0x0A]))
        #expect(failure { _ = try verify(data, key.publicKey, mixed) } == .forgedComment)
        for comment in ["two\nlines", "carriage\rreturn", "nul\0", String(repeating: "x", count: 8001)] {
            #expect(failure { _ = try sign(data, key, comment) } == .comment)
        }
    }

    @Test func everyFlippedByteBehindTheUntrustedCommentIsRefused() throws {
        let key = try MinisignSecretKey.generate()
        let data = Array("the manifest".utf8)
        let signature = try sign(data, key, "sequence:1")
        let start = signature.firstIndex(of: 0x0A)!  // A signature file has four lines.
        for index in start..<signature.count - 1 {
            for bit in 0..<8 {
                var changed = signature
                changed[index] ^= 1 << bit
                #expect(throws: MinisignError.self, "byte \(index), bit \(bit)") {
                    try verify(data, key.publicKey, changed)
                }
            }
        }
        for count in 0..<signature.count - 1 {
            #expect(throws: MinisignError.self, "cut to \(count)") {
                try verify(data, key.publicKey, Array(signature[..<count]))
            }
        }
    }

    @Test func damagedKeysAreRefusedWithoutSayingWhatIsInThem() throws {
        var generator = SplitMix64(seed: 73)
        let key = try MinisignSecretKey.generate()
        let text = key.encoded().reveal { Array($0.utf8) }
        let start = text.firstIndex(of: 0x0A)! + 1  // A key file has two lines.
        let base64 = String(decoding: text[start...], as: UTF8.self)
        for _ in 0..<2000 {
            var changed = text
            changed[Int.random(in: start..<text.count - 1, using: &generator)] = UInt8.random(
                in: 0x21...0x7E, using: &generator)
            if changed == text { continue }
            do {
                // The id, salt, limits and checksum have no protection in this format; the key itself has.
                let read = try MinisignSecretKey(Secret(String(decoding: changed, as: UTF8.self)))
                #expect(read.publicKey.text.suffix(40) == key.publicKey.text.suffix(40))
            } catch {
                #expect(!"\(error) \(error.lifeboatError)".contains(base64.prefix(20)))
            }
        }
        #expect(failure { _ = try MinisignPublicKey("RW") } == .publicKey("it is not the base64 of 42 bytes"))
        #expect(failure { _ = try MinisignPublicKey("") } == .publicKey("it is not the base64 of 42 bytes"))
    }
}
