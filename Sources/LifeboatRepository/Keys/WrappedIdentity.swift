// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatFormats
import LifeboatIO
package import LifeboatStorage

/// Identities that are kept in the repository, under `keys/`, wrapped with a passphrase (age scrypt).
package enum WrappedIdentity {
    /// Stores `identity` for whoever knows the passphrase. The name tells the recipient, so that two do not collide.
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
        let key = RepositoryLayout.wrappedIdentity(BLAKE3.hash(Array(identity.recipient.text.utf8)))
        _ = try sealed.withUnsafeBytes { try store.putIfAbsent(key, [$0]) }
    }

    /// The identities that `passphrase` opens. Throws `wrongKey` when there are some and it opens none.
    package static func open(_ passphrase: Secret, in store: any ObjectStore) throws -> [AgeIdentity] {
        var identities: [AgeIdentity] = []
        var seen = 0
        for object in try store.listAll(prefix: RepositoryLayout.keyPrefix)
        where RepositoryLayout.isWrappedIdentity(object.key) {
            seen += 1
            let bytes = try store.get(object.key, limit: 1 << 20)
            do throws(AgeError) {
                let plain = try Age.open(bytes, keys: [.passphrase(passphrase)])
                identities += try AgeIdentityFile.parse(plain)
            } catch {
                guard error.lifeboatError.exitCode == .wrongKey else {
                    throw RepositoryError.damaged(object.key.text, error.lifeboatError.summary)
                }
            }
        }
        guard !identities.isEmpty else {
            throw LifeboatError(
                seen == 0 ? "this repository has no key that a passphrase opens" : "the passphrase is wrong",
                causes: seen == 0 ? [] : ["it opens none of the \(seen) keys in the repository"],
                hint: seen == 0 ? "Give the key with --identity FILE." : "Try again with the right passphrase.",
                exitCode: .wrongKey)
        }
        return identities
    }
}
