// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatStorage

/// Which snapshots drills have proven, as far as retention needs to know.
package enum DrillVerified {
    /// Of a drill result: other keys do not matter here.
    private struct Result: Decodable {
        var snapshot: Digest
        var verified: Bool
    }

    /// Ids of the snapshots of a stack that a drill has verified. Throws when a result cannot be read or is not signed: the
    /// newest verified snapshot might be the one it speaks of.
    package static func ids(_ repository: Repository, stack: String) throws -> Set<Digest> {
        var verified: Set<Digest> = []
        for key in try DrillRecords.keys(repository, stack: stack) {
            let bytes = try DrillRecords.read(key, repository).bytes
            guard let result = try? CanonicalJSON.decode(Result.self, from: bytes) else {
                throw RepositoryError.damaged(key.text, "it is not the JSON of a drill's result")
            }
            if result.verified { verified.insert(result.snapshot) }
        }
        return verified
    }
}
