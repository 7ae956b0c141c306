// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
package import LifeboatCore
package import LifeboatFormats

/// `config.json`: what is fixed for the life of a repository.
///
/// JSON with sorted keys. `integrity` is the BLAKE3, in hex, of the same text with that value replaced by 64 zeros, so
/// that a damaged byte is noticed before it changes how a backup works.
package struct RepositoryConfig: Codable, Sendable, Equatable {
    /// The format this version writes and reads.
    package static let currentFormat = 1

    package var format: Int
    /// 32 random bytes in hex: tells repositories apart, also for caches and journals.
    package var repositoryID: Digest
    package var created: Timestamp
    package var chunker: ChunkerParameters
    /// `none`: objects are stored as they are. `age`: they are age files for `recipients`.
    package var encryption: String
    /// Who can read what is written: age recipients (X25519). Empty without encryption.
    package var recipients: [String]
    /// Who may write snapshots and change this file.
    package var signers: [Signer]
    package var integrity: Digest

    /// A host that signs: its name, for people, and its minisign public key. Or the recovery key.
    package struct Signer: Codable, Sendable, Equatable {
        package var host: String
        package var key: String
        /// `recovery` for the recovery key, which signs this file only; nil for a host.
        package var role: String?

        package init(host: String, key: String, role: String? = nil) {
            self.host = host
            self.key = key
            self.role = role
        }

        package var isRecovery: Bool { role == RecoveryKey.role }
    }

    /// The words of `encryption`.
    package static let unencrypted = "none"
    package static let age = "age"

    private enum CodingKeys: String, CodingKey {
        case format, created, chunker, encryption, recipients, signers, integrity
        case repositoryID = "repository_id"
    }

    package init(
        repositoryID: Digest, created: Timestamp, chunker: ChunkerParameters, recipients: [AgeRecipient] = [],
        signers: [Signer] = []
    ) {
        format = Self.currentFormat
        self.repositoryID = repositoryID
        self.created = created
        self.chunker = chunker
        encryption = recipients.isEmpty ? Self.unencrypted : Self.age
        self.recipients = recipients.map(\.text)
        self.signers = signers
        integrity = Self.zero
    }

    private static let zero = Digest(bigEndianWords: 0, 0, 0, 0)

    /// The bytes to store, with their integrity value.
    package func encoded() throws -> [UInt8] {
        var config = self
        config.integrity = Self.zero
        config.integrity = BLAKE3.hash(try config.serialized())
        return try config.serialized()
    }

    private func serialized() throws -> [UInt8] {
        try CanonicalJSON.encode(self, pretty: true) + [UInt8(ascii: "\n")]
    }

    /// Reads stored bytes; every difference from what `encoded` writes is damage or a newer format.
    package init(decoding bytes: [UInt8]) throws {
        let object = "config.json"
        do {
            self = try JSONDecoder().decode(RepositoryConfig.self, from: Data(bytes))
        } catch {
            // A newer format may have other keys: look at the number alone.
            if let probe = try? JSONDecoder().decode(FormatProbe.self, from: Data(bytes)),
                probe.format > Self.currentFormat
            {
                throw Self.tooNew(probe.format)
            }
            throw RepositoryError.damaged(object, "it is not the JSON that format 1 defines")
        }
        guard format <= Self.currentFormat else { throw Self.tooNew(format) }
        guard format == Self.currentFormat, try encoded() == bytes else {
            throw RepositoryError.damaged(object, "its content does not match its integrity value")
        }
        try chunker.validate()
        guard encryption == (recipients.isEmpty ? Self.unencrypted : Self.age) else {
            throw RepositoryError.damaged(object, "its encryption is not that of its recipients")
        }
    }

    /// The recipients as values that can be encrypted for.
    package func ageRecipients() throws -> [AgeRecipient] {
        try recipients.map { text in
            do throws(AgeError) { return try AgeRecipient(text) } catch {
                throw RepositoryError.damaged("config.json", error.lifeboatError.summary)
            }
        }
    }

    /// The keys whose signature may change this file; of the `hosts` alone: those whose signature makes a manifest count.
    package func signerKeys(hosts: Bool = false) throws -> [MinisignPublicKey] {
        try signers.filter { !hosts || !$0.isRecovery }.map { signer in
            do throws(MinisignError) { return try MinisignPublicKey(signer.key) } catch {
                throw RepositoryError.damaged("config.json", error.lifeboatError.summary)
            }
        }
    }

    private struct FormatProbe: Decodable { var format: Int }

    private static func tooNew(_ format: Int) -> LifeboatError {
        LifeboatError(
            "the repository has format \(format); this lifeboat reads format \(currentFormat)",
            hint: "Use a newer lifeboat for this repository.")
    }
}

/// The JSON lifeboat stores: keys sorted, slashes not escaped, so that equal values are equal bytes.
package enum CanonicalJSON {
    package static func encode(_ value: some Encodable, pretty: Bool = false) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting =
            pretty ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted] : [.sortedKeys, .withoutEscapingSlashes]
        return [UInt8](try encoder.encode(value))
    }

    package static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
        try JSONDecoder().decode(type, from: Data(bytes))
    }
}
