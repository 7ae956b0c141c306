// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatRepository
package import LifeboatStores

/// A snapshot of a repository as the source of a restore. Thread-safe.
package struct RepositorySource: RestoreSource {
    private let snapshot: Snapshot
    private let reader: ChunkReader
    private let counters: RestoreCounters
    private let options: RepositoryContent.Options

    /// Opens the indexes; packs that are missing or have another size than they should count as lost.
    package init(
        _ repository: Repository, _ snapshot: Snapshot, options: RepositoryContent.Options, progress: any ProgressSink
    ) throws {
        self.snapshot = snapshot
        self.options = options
        reader = ChunkReader(repository, try repository.openIndexesOfPresentPacks())
        let components = snapshot.manifest.components
        counters = RestoreCounters(
            progress, filesTotal: components.reduce(0) { $0 + $1.files },
            bytesTotal: components.reduce(0) { $0 + $1.bytes })
    }

    package func verifyChunks(of components: [String], _ cancellation: Cancellation) throws {
        var verification = SnapshotVerification(reader, cancellation)
        try verification.verify(components.map { try component($0) })
    }

    package func content(of component: String) throws -> any RestoreContent {
        RepositoryContent(try self.component(component), reader, options: options, counters: counters)
    }

    private func component(_ name: String) throws -> Manifest.Component {
        guard let component = snapshot.manifest.component(name) else {
            throw LifeboatError(
                "snapshot '\(snapshot.id.shortHex)' holds no component '\(name)'", exitCode: .incomplete)
        }
        return component
    }
}
