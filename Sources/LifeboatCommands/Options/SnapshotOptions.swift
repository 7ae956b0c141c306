// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository

/// Narrows down which snapshot is meant.
struct SnapshotOptions: ParsableArguments {
    @Option(
        name: .long, help: ArgumentHelp("The stack 'latest' belongs to; else the policy's.", valueName: "name"))
    var stack: String?

    /// The snapshot that `text` names: an id or `latest`. Damaged manifests that may be meant are told.
    func find(
        _ text: String, at time: Timestamp? = nil, _ repository: Repository, _ location: RepositoryOptions,
        _ session: CommandSession
    ) throws -> Snapshot {
        let catalog = try SnapshotCatalog(repository)
        return try find(text, at: time, catalog, location, session)
    }

    func find(
        _ text: String, at time: Timestamp? = nil, _ catalog: SnapshotCatalog, _ location: RepositoryOptions,
        _ session: CommandSession
    ) throws -> Snapshot {
        if text == "latest" || time != nil {
            let stack = try self.stack ?? location.defaultStack(session.context)
            let found = try catalog.find(text, stack: stack, at: time)
            // One that cannot be read might be newer.
            for damage in catalog.damaged { session.warn(damage) }
            return found
        }
        return try catalog.find(text, stack: stack)
    }
}

/// A point in time on the command line: RFC 3339, `2026-11-21`, `2026-11-21 02:00`; UTC unless it says otherwise.
struct TimeArgument: ExpressibleByArgument {
    let timestamp: Timestamp

    init?(argument: String) {
        guard let timestamp = Timestamp(parsing: argument) else { return nil }
        self.timestamp = timestamp
    }
}
