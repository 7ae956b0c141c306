// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatTesting
import Testing

/// Random damage to everything that is parsed: refused, never a trap, and never with a secret in the message.
@Suite struct AgeParserMutationTests {
    /// One to four edits: replaced, removed, inserted, doubled or cut bytes.
    private static func mutated(_ bytes: [UInt8], _ generator: inout SplitMix64) -> [UInt8] {
        // Not empty, so the choice below always finds one.
        let interesting = Array("-> \n\r=1A/+#".utf8) + [0, 0x7F, 0xFF]
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            guard !bytes.isEmpty else { break }
            let index = Int.random(in: 0..<bytes.count, using: &generator)
            let value =
                Bool.random(using: &generator)
                ? interesting.randomElement(using: &generator)! : UInt8.random(in: 0...255, using: &generator)
            switch Int.random(in: 0..<12, using: &generator) {
            case 0: bytes.removeLast(Int.random(in: 0...bytes.count, using: &generator))
            case 1, 2: bytes.remove(at: index)
            case 3, 4: bytes.insert(value, at: index)
            case 5: bytes.insert(contentsOf: bytes[index..<min(bytes.count, index + 70)], at: index)
            default: bytes[index] = value
            }
        }
        return bytes
    }

    @Test func headers() throws {
        var generator = SplitMix64(seed: 91)
        let identity = try AgeIdentity.generate()
        let others = [try AgeIdentity.generate().recipient, identity.recipient]
        let files = [
            try Age.seal([7], recipients: others), try Age.seal([7], recipients: [identity.recipient]),
            try Age.seal([7], AgeWriter(passphrase: Secret("p"), workFactor: 1)),
        ]
        let keys: [AgeKey] = [.identity(identity), .passphrase(Secret("p"))]
        var outcomes: [String: Int] = [:]
        for round in 0..<6000 {
            let file = files[round % files.count]
            var header = Array(file.dropLast(17))
            // A work factor of two digits would only be slow.
            header = Self.mutated(header, &generator)
            if String(decoding: header, as: UTF8.self).contains(/scrypt [^ \n]+ [0-9]{2}/) { continue }
            let changed = header + file.suffix(17)
            if changed == file { continue }
            do {
                _ = try Age.open(changed, keys: keys)
                Issue.record("round \(round): a changed file was accepted")
            } catch {
                outcomes[String("\(error)".prefix { $0 != "(" }), default: 0] += 1
            }
        }
        for outcome in ["header", "noMatch", "hmac", "payload"] {
            #expect(outcomes[outcome, default: 0] > 0, "\(outcome): \(outcomes)")
        }
    }

    @Test func aChangedCharacterOfARecipientOrIdentityIsNoticed() throws {
        var generator = SplitMix64(seed: 92)
        let identity = try AgeIdentity.generate()
        let secret = identity.secret().reveal { Array($0.utf8) }
        let shareable = Array(identity.recipient.text.utf8)
        for round in 0..<3000 {
            let text = round % 2 == 0 ? shareable : secret
            let changed = Self.mutated(text, &generator)
            if changed == text { continue }
            let string = String(decoding: changed, as: UTF8.self)
            if round % 2 == 0 {
                #expect(throws: AgeError.self, "\(string)") { try AgeRecipient(string) }
            } else {
                do {
                    _ = try AgeIdentity(Secret(string))
                    Issue.record("round \(round): a changed identity was accepted")
                } catch {
                    let middle = String(decoding: secret[20..<36], as: UTF8.self)
                    #expect(!"\(error) \(error.lifeboatError)".contains(middle))
                }
            }
        }
        // One wrong character is always noticed: that is what the checksum promises.
        for index in shareable.indices {
            var changed = shareable
            changed[index] = changed[index] == UInt8(ascii: "q") ? UInt8(ascii: "p") : UInt8(ascii: "q")
            #expect(throws: AgeError.self) { try AgeRecipient(String(decoding: changed, as: UTF8.self)) }
        }
    }

    @Test func filesOfKeys() throws {
        var generator = SplitMix64(seed: 93)
        let identity = try AgeIdentity.generate()
        let file = AgeIdentityFile.render(identity, created: Timestamp(seconds: 0))
        let recipients = Array("# ours\n\n\(identity.recipient.text)\r\n\(identity.recipient.text)\n".utf8)
        #expect(try AgeRecipientsFile.parse(recipients) == [identity.recipient, identity.recipient])
        for _ in 0..<3000 {
            if let parsed = try? AgeIdentityFile.parse(Self.mutated(file, &generator)) {
                #expect(parsed.allSatisfy { $0.recipient == identity.recipient })
            }
            if let parsed = try? AgeRecipientsFile.parse(Self.mutated(recipients, &generator)) {
                #expect(parsed.allSatisfy { $0 == identity.recipient })
            }
            _ = try? AgeArmor.decode(Self.mutated(AgeArmor.encode(file), &generator))
        }
    }

    @Test func keysThatLifeboatHasNotAreNamed() throws {
        let cases: [(String, AgeError)] = [
            ("ssh-ed25519 AAAA", .unsupported("unsupported recipient type: an SSH key")),
            ("AGE-SECRET-KEY-1QQQ", .key("this is a secret key where a recipient (age1…) belongs")),
            ("age1", .key("malformed recipient: it is not age1… with a right checksum")),
            ("", .key("malformed recipient: it is not age1… with a right checksum")),
        ]
        for (text, expected) in cases {
            #expect(throws: expected) { try AgeRecipient(text) }
        }
        #expect(throws: AgeError.key("line 2: malformed recipient: it is not age1… with a right checksum")) {
            try AgeRecipientsFile.parse(Array("# ours\nage2x\n".utf8))
        }
        #expect(throws: AgeError.key("the file holds no identity (AGE-SECRET-KEY-1…)")) {
            try AgeIdentityFile.parse(Array("# nothing\n".utf8))
        }
        let encrypted = try Age.seal([], recipients: [AgeIdentity.generate().recipient])
        #expect(AgeIdentityFile.isEncrypted(encrypted) && AgeIdentityFile.isEncrypted(AgeArmor.encode(encrypted)))
        #expect(throws: AgeError.unsupported("the identity file is itself encrypted with age; decrypt it first")) {
            try AgeIdentityFile.parse(encrypted)
        }
    }
}
