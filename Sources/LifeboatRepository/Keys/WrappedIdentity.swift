// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatFormats
import LifeboatIO
package import LifeboatStorage

/// Identities that are kept in the repository, under `keys/`, wrapped with a passphrase (age scrypt).
package enum WrappedIdentity {
    /// Stores `identity` for whoever knows the passphrase, beside what is there.
    package static func store(
        _ identity: AgeIdentity, passphrase: Secret, in store: any ObjectStore, created: Timestamp, workFactor: Int = 18
    ) throws {
        let plain = AgeIdentityFile.render(identity, created: created)
        let sealed: [UInt8]
        do throws(AgeError) {
            let writer = try AgeWriter(passphrase: passphrase, workFactor: workFactor)
            var payload = [UInt8](repeating: 0, count: AgeWriter.sealedPayloadSize(plain.count))
            var failure: AgeError?
            plain.withUnsafeBytes { plain in
                payload.withUnsafeMutableBytes { payload in
                    do throws(AgeError) {
                        let done = try writer.update(plain, into: payload)
                        _ = try writer.finish(into: UnsafeMutableRawBufferPointer(rebasing: payload[done...]))
                    } catch {
                        failure = error
                    }
                }
            }
            if let failure { throw failure }
            sealed = writer.header + payload
        } catch {
            throw error.lifeboatError
        }
        let key = RepositoryLayout.wrappedIdentity(BLAKE3.hash(sealed))
        _ = try sealed.withUnsafeBytes { try store.putIfAbsent(key, [$0]) }
    }

    /// Those there are.
    package static func list(_ store: any ObjectStore) throws -> [ObjectKey] {
        try store.listAll(prefix: RepositoryLayout.keyPrefix).map(\.key).filter {
            RepositoryLayout.wrappedIdentityName($0) != nil
        }
    }

    /// The identities that `passphrase` opens. Throws `wrongKey` when there are some and it opens none.
    package static func open(_ passphrase: Secret, in store: any ObjectStore) throws -> [AgeIdentity] {
        try opened(by: passphrase, in: store).flatMap(\.identities)
    }

    /// Removes what `passphrase` opens, unless nothing else than that would be left to open one of the identities:
    /// `others` are those the caller holds by other means. Throws as `open`.
    package static func remove(
        _ passphrase: Secret, from store: any ObjectStore, keeping others: [AgeIdentity]
    ) throws {
        let opened = try opened(by: passphrase, in: store)
        let held = Set(others.map(\.recipient.text))
        for identity in opened.flatMap(\.identities) where !held.contains(identity.recipient.text) {
            throw LifeboatError(
                "without this passphrase nobody might read what is for '\(identity.recipient.text)'",
                hint: "Open the repository with another key of that reader: --identity FILE, or --passphrase-file FILE "
                    + "with another passphrase that 'lifeboat key add --new-passphrase-file FILE' added.")
        }
        for (key, _) in opened { _ = try store.delete(key) }
    }

    /// Objects under `keys/` that are not what their names say, and why.
    static func problems(in store: any ObjectStore) throws -> [(key: ObjectKey, reason: String)] {
        try list(store).compactMap { key in
            let bytes: [UInt8]
            do throws(StorageError) {
                bytes = try store.get(key, limit: sizeLimit)
            } catch {
                // Removed since it was listed.
                if error.kind == .notFound { return nil }
                guard error.kind == .full else { throw error.lifeboatError }
                return (key, "it is larger than any wrapped identity")
            }
            guard RepositoryLayout.wrappedIdentity(BLAKE3.hash(bytes)) == key else {
                return (key, "its bytes do not have the digest in its name: its passphrase may open it no longer")
            }
            guard bytes.starts(with: Array("age-encryption.org/v1\n-> scrypt ".utf8)) else {
                return (key, "it is not an identity that a passphrase wraps: none opens it")
            }
            return nil
        }
    }

    private static let sizeLimit: UInt64 = 1 << 20

    private static func opened(
        by passphrase: Secret, in store: any ObjectStore
    ) throws -> [(key: ObjectKey, identities: [AgeIdentity])] {
        var opened: [(key: ObjectKey, identities: [AgeIdentity])] = []
        var seen = 0
        var damage: LifeboatError?
        for key in try list(store) {
            seen += 1
            let bytes: [UInt8]
            do throws(StorageError) {
                bytes = try store.get(key, limit: sizeLimit)
            } catch {
                // Another one may be sound.
                damage = damage ?? error.readingRepositoryObject(key)
                continue
            }
            do throws(AgeError) {
                let plain = try Age.open(bytes, keys: [.passphrase(passphrase)])
                opened.append((key, try AgeIdentityFile.parse(plain)))
            } catch {
                guard error.lifeboatError.exitCode == .wrongKey else {
                    damage = damage ?? RepositoryError.damaged(key.text, error.lifeboatError.summary)
                    continue
                }
            }
        }
        if opened.isEmpty, let damage { throw damage }
        guard !opened.isEmpty else {
            throw LifeboatError(
                seen == 0 ? "this repository has no key that a passphrase opens" : "the passphrase is wrong",
                causes: seen == 0 ? [] : ["it opens none of the \(seen) keys in the repository"],
                hint: seen == 0 ? "Give the key with --identity FILE." : "Try again with the right passphrase.",
                exitCode: .wrongKey)
        }
        return opened
    }
}
