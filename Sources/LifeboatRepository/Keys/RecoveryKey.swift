// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
package import LifeboatFormats
package import LifeboatStorage

/// The signing key with which a reader lets a new host in when every trusted host is lost. Its secret half is stored
/// under `keys/`, encrypted for the recipients of the repository; its public half is one of the signers of
/// `config.json`. It signs nothing but `config.json`.
///
/// A repository that is not encrypted has none: whoever reads its storage could take the key.
package enum RecoveryKey {
    /// What `signers` of `config.json` call it.
    static let role = "recovery"
    /// Stored bytes of one, at most.
    private static let sizeLimit: UInt64 = 1 << 20

    /// A new key: the object to store, and the signer it is.
    struct Fresh {
        var object: ObjectKey
        var sealed: [UInt8]
        var signer: RepositoryConfig.Signer

        /// Stored before the `config.json` that names it.
        func store(in store: any ObjectStore) throws {
            _ = try sealed.withUnsafeBytes { try store.putIfAbsent(object, [$0]) }
        }
    }

    /// Makes a key for `recipients`, of which there is at least one. Stores nothing.
    static func make(for recipients: [AgeRecipient]) throws -> Fresh {
        let key: MinisignSecretKey
        do throws(MinisignError) { key = try MinisignSecretKey.generate() } catch { throw error.lifeboatError }
        let plain = key.encoded().reveal { Array($0.utf8) }
        let sealed = try Sealing(recipients: recipients, keys: []).seal(plain)
        return Fresh(
            object: RepositoryLayout.recoveryKey(BLAKE3.hash(sealed)), sealed: sealed,
            signer: RepositoryConfig.Signer(host: "", key: key.publicKey.text, role: role))
    }

    /// The recovery keys in the store, whether or not `config.json` names them.
    package static func list(_ store: any ObjectStore) throws -> [ObjectKey] {
        try store.listAll(prefix: RepositoryLayout.keyPrefix).map(\.key).filter {
            RepositoryLayout.recoveryKeyName($0) != nil
        }
    }

    /// The recovery key of the repository, opened with the keys it was opened with; nil when there is none that
    /// `config.json` names. Throws `wrongKey` when none of the keys opens it.
    package static func open(_ repository: Repository) throws -> MinisignSecretKey? {
        let named = Set(repository.config.signers.filter(\.isRecovery).map(\.key))
        guard !named.isEmpty else { return nil }
        var refusal: LifeboatError?
        for object in try list(repository.store) {
            do {
                let key = try open(object, repository)
                if named.contains(key.publicKey.text) { return key }
            } catch let error as LifeboatError where error.exitCode == .wrongKey {
                refusal = error
            }
        }
        if let refusal { throw refusal }
        return nil
    }

    private static func open(_ object: ObjectKey, _ repository: Repository) throws -> MinisignSecretKey {
        guard repository.sealing.canRead else { throw Sealing.noKey(object) }
        let bytes = try repository.store.get(object, limit: sizeLimit)
        guard RepositoryLayout.recoveryKey(BLAKE3.hash(bytes)) == object else {
            throw RepositoryError.damaged(object.text, "its bytes do not have the digest in its name")
        }
        let plain: [UInt8]
        do throws(AgeError) { plain = try Age.open(bytes, keys: repository.sealing.keys) } catch {
            throw Sealing.cannotOpen(object, error)
        }
        do throws(MinisignError) {
            return try MinisignSecretKey(Secret(String(decoding: plain, as: UTF8.self)))
        } catch {
            throw RepositoryError.damaged(object.text, error.lifeboatError.summary)
        }
    }

    /// Recovery keys whose bytes are not what their names say, and why; and the one that `config.json` names without
    /// an object that could be it.
    static func problems(of repository: Repository) throws -> [(key: ObjectKey, reason: String)] {
        let objects = try list(repository.store)
        var problems: [(key: ObjectKey, reason: String)] = []
        for object in objects {
            let digest = BLAKE3.hash(try repository.store.get(object, limit: sizeLimit))
            guard RepositoryLayout.recoveryKey(digest) != object else { continue }
            problems.append((object, "its bytes do not have the digest in its name: nobody may be able to open it"))
        }
        if objects.isEmpty, repository.config.signers.contains(where: \.isRecovery) {
            problems.append(
                (
                    RepositoryLayout.config,
                    "the recovery key it names is missing below 'keys/': make a new one with "
                        + "'lifeboat key add --recovery-key'"
                ))
        }
        return problems
    }

    /// Removes every recovery key but `kept`: nothing trusts them any more.
    static func removeOthers(than kept: ObjectKey, from store: any ObjectStore) throws {
        for object in try list(store) where object != kept { _ = try store.delete(object) }
    }
}

extension Repository {
    /// Whether `config.json`, as it was opened, carries the signature of one of `keys`.
    package func isConfigSigned(by keys: [MinisignPublicKey]) throws -> Bool {
        let bytes = try config.encoded()
        let signature: [UInt8]
        do throws(StorageError) {
            signature = try store.get(RepositoryLayout.configSignature(BLAKE3.hash(bytes)), limit: 1 << 16)
        } catch {
            guard error.kind == .notFound else { throw error.lifeboatError }
            return false
        }
        return ConfigTrust.isSigned(bytes, signature, by: keys)
    }

    /// Adds this host, `host` by name, to the signers, with the signature of `recovery`; without it with this host's
    /// own, which no host that knows the repository accepts before 'repository trust'. False when it is one already.
    package func adopt(host: String, signingWith recovery: MinisignSecretKey?) throws -> Bool {
        if let distrust { throw distrust }
        guard let trust, !config.signers.isEmpty else {
            throw LifeboatError("the repository has no signers: every host may write to it")
        }
        let own = try trust.signingKeyCreating()
        guard !config.signers.contains(where: { $0.key == own.publicKey.text }) else { return false }
        var changed = config
        changed.signers.append(RepositoryConfig.Signer(host: host, key: own.publicKey.text))
        try store(changed, signedBy: recovery ?? own, trust)
        return true
    }
}
