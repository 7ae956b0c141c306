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

    private static let limit: UInt64 = 16 << 20

    /// Ids of the snapshots of a stack that a drill has verified. Throws when a result cannot be read: the newest
    /// verified snapshot might be the one it speaks of.
    package static func ids(_ repository: Repository, stack: String) throws -> Set<Digest> {
        var verified: Set<Digest> = []
        for object in try repository.objects("\(RepositoryLayout.drillPrefix)\(stack)/")
        where object.key.text.hasSuffix(".json") {
            let bytes = try repository.load(object.key, limit: limit)
            guard let result = try? CanonicalJSON.decode(Result.self, from: bytes) else {
                throw RepositoryError.damaged(object.key.text, "it is not the JSON of a drill's result")
            }
            if result.verified { verified.insert(result.snapshot) }
        }
        return verified
    }
}
