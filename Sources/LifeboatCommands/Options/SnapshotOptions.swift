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

/// A point in time on the command line: RFC 3339, `2026-11-21 14:03`, `2026-11-21`. Without `Z` or an offset it is local
/// time, as TZ and /etc/localtime have it; a date stands for the end of that day.
struct TimeArgument: ExpressibleByArgument {
    private let written: WrittenTime

    init?(argument: String) {
        guard let written = WrittenTime(argument) else { return nil }
        self.written = written
    }

    /// Throws an error of usage when the local time zone is not known.
    func timestamp(_ context: CommandContext) throws -> Timestamp {
        let local = written.isDate ? written.local.adding(seconds: 86_400) : written.local
        let seconds =
            if let offset = written.offset {
                local.seconds - Int64(offset)
            } else {
                try TimeZoneDatabase.local(environment: context.environment).seconds(atLocal: local.seconds)
            }
        return written.isDate
            ? Timestamp(seconds: seconds - 1, nanoseconds: 999_999_999)
            : Timestamp(seconds: seconds, nanoseconds: local.nanoseconds)
    }

    static func help(_ what: String) -> ArgumentHelp {
        ArgumentHelp(
            "\(what): local time unless it ends in Z or an offset; a date means the end of that day.",
            valueName: "time")
    }
}
