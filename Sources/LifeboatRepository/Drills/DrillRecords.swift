// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatFormats
package import LifeboatStorage

/// The results of drills in a repository: JSON under `drills/<stack>/`, signed and encrypted as manifests are. What is
/// in them beside the fields that `DrillVerified` needs is the business of who writes them.
package enum DrillRecords {
    /// A result that was read: verified against the digest in its name and its signature.
    package struct Record: Sendable {
        package var key: ObjectKey
        /// BLAKE3 of the stored bytes.
        package var id: Digest
        package var bytes: [UInt8]
    }

    private static let limit: UInt64 = 16 << 20

    /// Stores a result, its time being that of the end of the drill; its id.
    package static func store(
        _ bytes: [UInt8], stack: String, time: Timestamp, to repository: Repository
    ) throws -> Digest {
        let sealed = try repository.sealing.seal(bytes)
        let id = BLAKE3.hash(sealed)
        let key = RepositoryLayout.drill(stack: stack, time: time, id: id)
        let stored = repository.sealing.storedKey(key)
        try Signing.storeSignature(of: sealed, stored, repository, comment: "lifeboat drill \(id.shortHex)")
        _ = try sealed.withUnsafeBytes { try repository.store.putIfAbsent(stored, [$0]) }
        return id
    }

    /// Names of the results of a stack, ascending by time. Throws for what is not named like one.
    package static func keys(_ repository: Repository, stack: String) throws -> [ObjectKey] {
        try repository.objects("\(RepositoryLayout.drillPrefix)\(stack)/").map(\.key)
            .filter { $0.text.hasSuffix(".json") }.sorted { $0.text < $1.text }
    }

    /// Throws for a result that is damaged, unsigned, or under another name than its own.
    package static func read(_ key: ObjectKey, _ repository: Repository) throws -> Record {
        let stored: [UInt8]
        do {
            stored = try repository.store.get(repository.sealing.storedKey(key), limit: limit)
        } catch {
            throw error.readingRepositoryObject(key)
        }
        let id = BLAKE3.hash(stored)
        guard let name = RepositoryLayout.drillName(key), name.shortID == id.shortHex else {
            throw RepositoryError.damaged(key.text, "its bytes do not have the digest in its name")
        }
        try Signing.verify(stored, repository.sealing.storedKey(key), repository)
        return Record(key: key, id: id, bytes: try repository.sealing.open(stored, key))
    }
}
