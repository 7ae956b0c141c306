// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// The file of `age-keygen`: identities one a line, `#` comments, empty lines.
package enum AgeIdentityFile {
    /// At least one identity. Throws `key` or `unsupported` with the number of the line, and `unsupported` for a file
    /// that is encrypted itself: `Age.open` it first.
    package static func parse(_ bytes: [UInt8]) throws(AgeError) -> [AgeIdentity] {
        guard !isEncrypted(bytes) else {
            throw .unsupported("the identity file is itself encrypted with age; decrypt it first")
        }
        var identities: [AgeIdentity] = []
        for (number, line) in AgeKeyLines.split(bytes) {
            do {
                identities.append(try AgeIdentity(Secret(line)))
            } catch {
                throw error.inLine(number)
            }
        }
        guard !identities.isEmpty else { throw .key("the file holds no identity (AGE-SECRET-KEY-1…)") }
        return identities
    }

    /// The file for one identity, as `age-keygen` writes it. Store it with mode 0600.
    package static func render(_ i: AgeIdentity, created: Timestamp) -> [UInt8] {
        i.secret().reveal { secret in
            Array("# created: \(created.rfc3339)\n# public key: \(i.recipient.text)\n\(secret)\n".utf8)
        }
    }

    /// Whether these are the bytes of an age file, armored or not, in place of identities.
    package static func isEncrypted(_ bytes: [UInt8]) -> Bool {
        bytes.starts(with: "age-encryption.org/".utf8) || AgeArmor.isArmored(bytes)
    }
}

/// Recipients one a line, `#` comments, empty lines: what `age -R` takes.
package enum AgeRecipientsFile {
    /// At least one recipient. Throws `key` or `unsupported` with the number of the line.
    package static func parse(_ bytes: [UInt8]) throws(AgeError) -> [AgeRecipient] {
        var recipients: [AgeRecipient] = []
        for (number, line) in AgeKeyLines.split(bytes) {
            do {
                recipients.append(try AgeRecipient(line))
            } catch {
                throw error.inLine(number)
            }
        }
        guard !recipients.isEmpty else { throw .key("the file holds no recipient (age1…)") }
        return recipients
    }
}

private enum AgeKeyLines {
    /// The lines that count, with their numbers from 1.
    static func split(_ bytes: [UInt8]) -> [(Int, String)] {
        bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated().compactMap {
            index, line in
            let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            if line.isEmpty || line.first == UInt8(ascii: "#") { return nil }
            return (index + 1, String(decoding: line, as: UTF8.self))
        }
    }
}

extension AgeError {
    fileprivate func inLine(_ number: Int) -> AgeError {
        switch self {
        case .key(let reason): .key("line \(number): \(reason)")
        case .unsupported(let what): .unsupported("line \(number): \(what)")
        default: self
        }
    }
}
