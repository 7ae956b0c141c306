// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatStorage

/// Signatures over stored objects, in minisign's format: `minisign -Vm OBJECT` verifies them.
enum Signing {
    /// Largest signature that is read, in bytes.
    static let signatureLimit: UInt64 = 1 << 16

    static func signature(of bytes: [UInt8], _ key: MinisignSecretKey, comment: String) throws -> [UInt8] {
        try bytes.withUnsafeBytes { bytes in
            do throws(MinisignError) {
                return try key.sign(bytes, trustedComment: comment)
            } catch {
                throw error.lifeboatError
            }
        }
    }

    /// This host's key, which has to be one the repository trusts; nil for a repository without signers.
    static func key(_ trust: HostTrust, _ config: RepositoryConfig) throws -> MinisignSecretKey? {
        guard !config.signers.isEmpty else { return nil }
        let key = try trust.signingKeyCreating()
        guard config.signers.contains(where: { $0.key == key.publicKey.text }) else {
            throw LifeboatError(
                "the repository does not trust this host's signatures",
                causes: ["this host's key is \(key.publicKey.text)"],
                hint: "On a host it trusts, run 'lifeboat key add --signer \(key.publicKey.text)'. If none is left, "
                    + "run 'lifeboat key adopt' here, with the identity or passphrase that reads the repository.",
                exitCode: .wrongKey)
        }
        return key
    }

    /// Stores the signature of an object, before the object: a signature alone means nothing. Nothing is stored in a
    /// repository without signers.
    static func storeSignature(
        of bytes: [UInt8], _ stored: ObjectKey, _ repository: Repository, comment: String
    ) throws {
        guard let trust = repository.trust, let key = try key(trust, repository.config) else { return }
        let signature = try signature(of: bytes, key, comment: comment)
        try signature.withUnsafeBytes {
            try repository.store.put(RepositoryLayout.signature(of: stored), [$0])
        }
    }

    /// Throws unless the stored bytes of `key` carry the signature of one of the repository's signers. Asked before any
    /// parser sees them.
    static func verify(_ bytes: [UInt8], _ stored: ObjectKey, _ repository: Repository) throws {
        guard !repository.config.signers.isEmpty else { return }
        let name = RepositoryLayout.signature(of: stored)
        let signature: [UInt8]
        do throws(StorageError) {
            signature = try repository.store.get(name, limit: signatureLimit)
        } catch {
            switch error.kind {
            case .notFound: throw RepositoryError.damaged(stored.text, "it is not signed: '\(name)' is missing")
            case .full: throw RepositoryError.damaged(stored.text, "'\(name)' is larger than any signature")
            default: throw error.lifeboatError
            }
        }
        guard ConfigTrust.isSigned(bytes, signature, by: try repository.config.signerKeys(hosts: true)) else {
            throw RepositoryError.damaged(stored.text, "it is not signed by a host this repository trusts")
        }
    }

    /// The comment that the signature of the stored bytes of `key` covers. Throws as `verify`; empty in a repository
    /// without signers.
    static func comment(_ bytes: [UInt8], _ stored: ObjectKey, _ repository: Repository) throws -> String {
        try verify(bytes, stored, repository)
        guard !repository.config.signers.isEmpty else { return "" }
        let signature = try repository.store.get(RepositoryLayout.signature(of: stored), limit: signatureLimit)
        for key in try repository.config.signerKeys(hosts: true) {
            do {
                return try bytes.withUnsafeBytes { try key.verify($0, signature: signature) }
            } catch is MinisignError {
                // Not this key's signature: the next may fit.
                continue
            }
        }
        throw RepositoryError.damaged(stored.text, "it is not signed by a host this repository trusts")
    }
}
