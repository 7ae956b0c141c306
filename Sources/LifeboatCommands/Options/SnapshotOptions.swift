// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatPolicy
import LifeboatRepository

/// Narrows down which snapshot is meant.
struct SnapshotOptions: ParsableArguments {
    @Option(
        name: .long, help: ArgumentHelp("The stack 'latest' belongs to; else the policy's.", valueName: "name"))
    var stack: String?

    /// The snapshot that `text` names: an id or `latest`. Damaged manifests that may be meant are told.
    ///
    /// `selected`: the components `latest` has to hold; nil: all of the policy.
    func find(
        _ text: String, at time: Timestamp? = nil, holding selected: Set<String>? = nil, _ repository: Repository,
        _ location: RepositoryOptions, _ session: CommandSession
    ) throws -> Snapshot {
        let catalog = try SnapshotCatalog.readable(repository, session)
        return try find(text, at: time, holding: selected, catalog, repository, location, session)
    }

    func find(
        _ text: String, at time: Timestamp? = nil, holding selected: Set<String>? = nil, _ catalog: SnapshotCatalog,
        _ repository: Repository, _ location: RepositoryOptions, _ session: CommandSession
    ) throws -> Snapshot {
        let isByTime = text == "latest" || time != nil
        let policy = isByTime ? try location.defaultPolicy(session.context) : nil
        let stack = self.stack ?? policy?.stack
        let own = policy.flatMap { $0.stack == stack ? $0.capturedComponents : nil }
        return try Self.choose(
            text, at: time, holding: selected ?? own, catalog, stack: stack, repository, session)
    }

    /// The snapshot that `text` or `at` names. When it is chosen by its time, what that choice leaves out is reported,
    /// with `--quiet` too: snapshots dated after now, newer ones that are missing, and damaged ones.
    static func choose(
        _ text: String, at time: Timestamp?, holding components: Set<String>?, _ catalog: SnapshotCatalog,
        stack: String?, _ repository: Repository, _ session: CommandSession
    ) throws -> Snapshot {
        guard text == "latest" || time != nil else { return try catalog.find(text, stack: stack) }
        let now = session.context.clock.now()
        let ahead = catalog.dated(after: now, stack: stack)
        if !ahead.isEmpty { try session.warnAlways(Self.datedAhead(ahead, now)) }
        for missing in try catalog.missingNewest(repository, stack: stack) { try session.caution(missing.error) }
        let found = try catalog.find(text, stack: stack, at: time, now: now, holding: components)
        // One that cannot be read might be newer.
        for damage in catalog.damaged(ofStack: stack) { try session.caution(damage) }
        if let components { warn(of: found, lacking: components, session) }
        if time == nil { noteNewer(than: found, catalog, now, session) }
        return found
    }

    /// Says that a newer complete snapshot was passed over because it contains some of the components only.
    private static func noteNewer(
        than chosen: Snapshot, _ catalog: SnapshotCatalog, _ now: Timestamp, _ session: CommandSession
    ) {
        let ofStack = catalog.snapshots.filter { $0.manifest.stack == chosen.manifest.stack }
        guard let newest = SnapshotCatalog.newestComplete(ofStack, notAfter: now), newest.id != chosen.id else {
            return
        }
        let names = newest.manifest.components.map(\.name).sorted().joined(separator: ", ")
        session.note("snapshot \(newest.id.shortHex) is newer; it contains only \(names)")
    }

    /// Says which components the snapshot lacks: no complete one holds all of them.
    private static func warn(of snapshot: Snapshot, lacking components: Set<String>, _ session: CommandSession) {
        let missing = components.subtracting(snapshot.manifest.components.map(\.name))
        guard !missing.isEmpty else { return }
        session.warn(
            LifeboatError(
                "no complete snapshot contains all components of the policy",
                causes: ["snapshot \(snapshot.id.shortHex) lacks \(missing.sorted().joined(separator: ", "))"],
                hint: "Make one with 'lifeboat backup' without naming components."))
    }

    private static func datedAhead(_ snapshots: [Snapshot], _ now: Timestamp) -> LifeboatError {
        let named = snapshots.suffix(10).map { snapshot in
            "snapshot \(snapshot.id.shortHex) of host '\(snapshot.manifest.host)' is dated "
                + snapshot.manifest.frozen.rfc3339
        }
        let more = snapshots.count - named.count
        return LifeboatError(
            "\(counted(snapshots.count, "snapshot")) dated after now (\(now.rfc3339)) \(snapshots.count == 1 ? "is" : "are")"
                + " not chosen by time",
            causes: named + (more > 0 ? ["and \(counted(more, "other"))"] : []),
            hint:
                "The clock of that host was ahead, or this host's clock is behind. Name a snapshot by its id to use it."
        )
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
