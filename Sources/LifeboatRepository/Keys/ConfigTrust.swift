// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
package import LifeboatStorage

/// Whether a `config.json` may be followed: decides who can read tomorrow's snapshots, so whoever can write to the
/// storage must not be able to change it.
package enum ConfigTrust {
    /// Nil when the configuration is the one this host trusts, or was changed with the signature of a key it trusts;
    /// else why not. On first use it is trusted when it carries a valid signature of its own, and remembered.
    ///
    /// What this host knows and cannot read is a reason too. What cannot be remembered is noted in `trust`. Throws only
    /// when the store cannot be read.
    package static func distrust(
        _ bytes: [UInt8], _ config: RepositoryConfig, in store: any ObjectStore, _ trust: HostTrust
    ) throws -> LifeboatError? {
        let location = store.properties.location
        let place: Digest?
        let pin: HostTrust.Pin?
        do {
            place = try trust.repository(at: location)
            pin = try trust.pin(config.repositoryID)
        } catch {
            return LifeboatError.converting(error).wrapped(
                "cannot tell whether the repository at '\(location)' is the one this host trusts")
        }
        if let known = place, known != config.repositoryID {
            return untrusted(
                location,
                "this host knows repository \(known.shortHex) there, and finds \(config.repositoryID.shortHex)")
        }
        let digest = BLAKE3.hash(bytes)
        if let pin, pin.config == digest {
            trust.noting { try trust.remember(config.repositoryID, at: location) }
            return nil
        }
        let keys = try pin.map { try $0.signers.map(key) } ?? config.signerKeys()
        let signature: [UInt8]
        do throws(StorageError) {
            signature = try store.get(RepositoryLayout.configSignature(digest), limit: Signing.signatureLimit)
        } catch {
            switch error.kind {
            case .notFound: return untrusted(location, "its config.json is not signed")
            case .full: return untrusted(location, "the signature of its config.json is larger than any signature")
            default: throw error.lifeboatError
            }
        }
        guard isSigned(bytes, signature, by: keys) else {
            return untrusted(
                location,
                pin == nil
                    ? "its config.json is not signed by one of the keys it names"
                    : "its config.json was changed without the signature of a key this host trusts")
        }
        trust.noting { try remember(config, digest: digest, at: location, trust) }
        return nil
    }

    /// From now on this host trusts the configuration as it is.
    package static func remember(
        _ config: RepositoryConfig, digest: Digest, at location: String, _ trust: HostTrust
    ) throws {
        var pin =
            try trust.pin(config.repositoryID)
            ?? HostTrust.Pin(config: digest, signers: [], recipients: [])
        pin.config = digest
        pin.signers = config.signers.map(\.key)
        pin.recipients = config.recipients
        try trust.remember(pin, of: config.repositoryID)
        try trust.remember(config.repositoryID, at: location)
    }

    static func isSigned(_ bytes: [UInt8], _ signature: [UInt8], by keys: [MinisignPublicKey]) -> Bool {
        keys.contains { key in
            bytes.withUnsafeBytes { bytes in
                do throws(MinisignError) {
                    _ = try key.verify(bytes, signature: signature)
                    return true
                } catch {
                    // Not this key's signature: the next may fit.
                    return false
                }
            }
        }
    }

    private static func key(_ text: String) throws -> MinisignPublicKey {
        do throws(MinisignError) { return try MinisignPublicKey(text) } catch { throw error.lifeboatError }
    }

    private static func untrusted(_ location: String, _ reason: String) -> LifeboatError {
        LifeboatError(
            "the repository at '\(location)' is not the one this host trusts", causes: [reason],
            hint: "Find out who changed it. If you did, accept it with 'lifeboat repository trust'.",
            exitCode: .damagedRepository)
    }
}

extension Repository {
    /// The object that holds the signature of the configuration as it is stored.
    package func configSignatureKey() throws -> ObjectKey {
        RepositoryLayout.configSignature(BLAKE3.hash(try config.encoded()))
    }

    /// What is wrong with the signature of the configuration; nil when one of its signers made it, and in a repository
    /// without signers.
    package func configSignatureProblem() throws -> String? {
        guard !config.signers.isEmpty else { return nil }
        let key = try configSignatureKey()
        let signature: [UInt8]
        do throws(StorageError) {
            signature = try store.get(key, limit: Signing.signatureLimit)
        } catch {
            switch error.kind {
            case .notFound: return "the signature of config.json is missing"
            case .full: return "it is larger than any signature"
            default: throw error.lifeboatError
            }
        }
        guard ConfigTrust.isSigned(try config.encoded(), signature, by: try config.signerKeys()) else {
            return "it is not a signature of config.json by a host that may sign"
        }
        return nil
    }

    /// Signs the configuration as it is with the key of this host, for a host that trusts it.
    func signConfig() throws {
        try requireTrusted()
        guard let trust, let key = try Signing.key(trust, config) else { return }
        let signature = try Signing.signature(
            of: config.encoded(), key, comment: "lifeboat repository \(config.repositoryID.shortHex) config")
        try signature.withUnsafeBytes { try store.put(configSignatureKey(), [$0]) }
    }
}
