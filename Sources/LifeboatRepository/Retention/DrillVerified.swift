// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatStorage

/// Which snapshots drills have proven, as far as retention needs to know.
package enum DrillVerified {
    /// Of a drill result: other keys do not matter here.
    private struct Result: Decodable {
        var snapshot: Digest
        var verified: Bool
        /// Nil in what was written before it was there.
        var stack: String?
    }

    /// Throws for a result that cannot be read, is not signed, is not the JSON of one, or is of another stack.
    private static func result(_ key: ObjectKey, stack: String, _ repository: Repository) throws -> Result {
        let bytes = try DrillRecords.read(key, repository).bytes
        guard let result = try? CanonicalJSON.decode(Result.self, from: bytes), result.stack ?? stack == stack else {
            throw RepositoryError.damaged(key.text, "it is not the JSON of a result of a drill of this stack")
        }
        return result
    }

    /// Throws as `ids` does for one result.
    static func verify(_ key: ObjectKey, _ repository: Repository) throws {
        guard let name = RepositoryLayout.drillName(key) else {
            throw RepositoryError.damaged(key.text, "its name is not that of a drill's result")
        }
        _ = try result(key, stack: name.stack, repository)
    }

    /// Ids of the snapshots of a stack that a drill has verified. Throws when a result cannot be read or is not signed: the
    /// newest verified snapshot might be the one it speaks of.
    package static func ids(_ repository: Repository, stack: String) throws -> Set<Digest> {
        var verified: Set<Digest> = []
        for key in try DrillRecords.keys(repository, stack: stack) {
            let result = try result(key, stack: stack, repository)
            if result.verified { verified.insert(result.snapshot) }
        }
        return verified
    }
}
