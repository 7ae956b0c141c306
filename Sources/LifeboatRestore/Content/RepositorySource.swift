// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatFormats
package import LifeboatRepository
package import LifeboatStores

/// A snapshot of a repository as the source of a restore. Thread-safe.
package struct RepositorySource: RestoreSource {
    private let snapshot: Snapshot
    private let reader: ChunkReader
    private var counters: RestoreCounters
    private let options: RepositoryContent.Options
    private let progress: any ProgressSink

    /// Opens the indexes; packs that are missing or have another size than they should count as lost: a restore finds
    /// out before it touches anything. `components`: those that will be restored, for the totals of the progress; there
    /// are none when `isPartial`, since only a share of them will be read.
    package init(
        _ repository: Repository, _ snapshot: Snapshot, components: [String], options: RepositoryContent.Options,
        progress: any ProgressSink, isPartial: Bool = false
    ) throws {
        self.snapshot = snapshot
        self.options = options
        self.progress = progress
        reader = ChunkReader(repository, try repository.openIndexesOfPresentPacks(), reportingTo: progress)
        let components = snapshot.manifest.components.filter { components.contains($0.name) }
        counters = RestoreCounters(
            progress, filesTotal: isPartial ? nil : components.clampedSum(\.files),
            bytesTotal: isPartial ? nil : components.clampedSum(\.bytes))
    }

    /// The totals of the progress are those of the plan, which may restore components in part.
    package mutating func expect(_ plan: RestorePlan) {
        counters = RestoreCounters(progress, filesTotal: plan.files, bytesTotal: plan.bytes)
    }

    package func verifyChunks(
        of components: [String], only selections: [String: ContentSelection], _ cancellation: Cancellation
    ) throws {
        var verification = SnapshotVerification(reader, cancellation)
        try verification.verify(components.map { try component($0) }, only: selections)
    }

    package func readChunks(
        of components: [String], only selections: [String: ContentSelection], _ cancellation: Cancellation
    ) throws {
        // Counts of its own: what is read here is read again.
        let components = try components.map { try component($0) }
        let counters = RestoreCounters(
            progress, filesTotal: components.clampedSum { selections[$0.name]?.files ?? $0.files },
            bytesTotal: components.clampedSum { selections[$0.name]?.bytes ?? $0.bytes })
        for component in components {
            let content = RepositoryContent(component, reader, options: options, counters: counters)
            try content.readAll(selections[component.name], cancellation)
        }
    }

    package func content(of component: String) throws -> any RestoreContent {
        RepositoryContent(try self.component(component), reader, options: options, counters: counters)
    }

    /// With trees that hold only what `takes` says yes to.
    package func content(
        of component: String, takes: @escaping @Sendable (TreeEntry) -> Bool
    ) throws -> any RestoreContent {
        var options = options
        options.takes = takes
        return RepositoryContent(try self.component(component), reader, options: options, counters: counters)
    }

    private func component(_ name: String) throws -> Manifest.Component {
        guard let component = snapshot.manifest.component(name) else {
            throw LifeboatError(
                "snapshot '\(snapshot.id.shortHex)' holds no component '\(name)'", exitCode: .incomplete)
        }
        return component
    }
}
