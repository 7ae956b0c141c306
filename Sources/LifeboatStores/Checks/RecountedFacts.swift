// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Counts what it holds anew, under the names its captures use. For drills: nobody writes to what they restored, so the
/// numbers of the snapshot must come out again to the last one, where `verify` has to allow for services at work.
package protocol FactRecount: DataStore {
    /// Names that are not here cannot be counted.
    func recount(_ cancellation: Cancellation) throws -> [String: Int64]
}

extension VolumeStore: FactRecount {
    package func recount(_ cancellation: Cancellation) throws -> [String: Int64] {
        let point = try fixPoint(cancellation)
        defer { point.release() }
        return try point.facts().counts
    }
}

extension ChromaStore: FactRecount {
    package func recount(_ cancellation: Cancellation) throws -> [String: Int64] {
        try contents(cancellation).facts.counts
    }
}

extension ChromaFolderStore: FactRecount {
    /// Files are not counted: the server has them open, and may have added some.
    package func recount(_ cancellation: Cancellation) throws -> [String: Int64] {
        try server?.recount(cancellation) ?? [:]
    }
}

extension QdrantStore: FactRecount {
    package func recount(_ cancellation: Cancellation) throws -> [String: Int64] {
        let aliases = try api.aliases(cancellation)
        var counts: [String: Int64] = [:]
        for name in try api.collections(cancellation) + aliases.keys {
            counts["points:\(name)"] = try api.count(name, cancellation)
        }
        return counts
    }
}
