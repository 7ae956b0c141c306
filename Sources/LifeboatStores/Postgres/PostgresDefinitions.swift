// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// Makes what an archive defines, in its sections before and after the data. What pg_restore cannot make is tried again:
/// by pg_restore with the search path of its owner, then by itself in a session. What then fails is reported when data
/// does not depend on it; otherwise the restore ends.
struct PostgresDefinitions {
    let store: PostgresStore
    let client: PostgresClient
    /// Name of the new database.
    let target: String
    let contents: ArchiveContents
    let adaptation: PostgresAdaptation
    let settings: PostgresSettings
    let progress: any ProgressSink
    let cancellation: Cancellation

    /// Extensions that cannot be created while the database has this name, and what rests on them: made after the
    /// exchange. In the archive's order.
    private(set) var waiting: [ArchiveContents.Entry] = []

    init(
        store: PostgresStore, client: PostgresClient, target: String, contents: ArchiveContents,
        adaptation: PostgresAdaptation, settings: PostgresSettings, progress: any ProgressSink,
        cancellation: Cancellation
    ) {
        self.store = store
        self.client = client
        self.target = target
        self.contents = contents
        self.adaptation = adaptation
        self.settings = settings
        self.progress = progress
        self.cancellation = cancellation
    }

    /// 100,000 entries are named in less.
    private static let errorLimit = 16 << 20

    /// What every session of pg_restore begins with.
    private static let preludes: Set<String> = ["ENCODING", "SEARCHPATH", "STDSTRINGS"]

    /// What takes long to make, and needs no owner: tried again in the session only.
    private static let builds: Set<String> = [
        "CHECK CONSTRAINT", "CONSTRAINT", "FK CONSTRAINT", "INDEX", "INDEX ATTACH", "MATERIALIZED VIEW DATA",
    ]

    /// How an extension's script refuses: RAISE EXCEPTION, feature_not_supported, object_not_in_prerequisite_state.
    private static let refusals: Set<String> = [
        SQLState.raisedException, SQLState.featureNotSupported, SQLState.notInPrerequisiteState,
    ]

    mutating func make(_ section: String, placement: [String], jobs: Int? = nil) throws {
        let options = ["--section=\(section)"] + placement
        let parallel = jobs.map { ["--jobs=\($0)"] } ?? []
        var failures = try restore(options + parallel, contents.head(definitions: adaptation.definitions))
        let again = failures.filter { !Self.builds.contains($0.entry.kind) }.map(\.entry)
        if !again.isEmpty {
            let made = try makeAgain(again, placement)
            failures.removeAll { failure in made.contains(failure.entry.id) }
        }
        if failures.isEmpty { return }
        failures = try setAside(failures)
        if let lost = failures.first(where: { !ArchiveErrors.isDispensable($0.entry) }) {
            throw LifeboatError(
                PostgresLoad.subject(target), causes: ["pg_restore: cannot make \(lost.entry.shown)"] + lost.causes,
                hint: "The live database was not touched.")
        }
        let session = try store.session(target, cancellation)
        try searchPath(Set(failures.map(\.entry.owner)), session).set(session, PostgresLoad.subject(target))
        try PostgresSecondTry(session: session, progress: progress, cancellation: cancellation).make(failures)
    }

    /// The head of the archive for its rows: without what waits.
    func dataHead(_ removed: Set<Int64>, _ session: PostgresConnection) throws -> [UInt8] {
        let owners = try PostgresSearchPath.owners(session)
        let path = owners.isEmpty ? nil : try searchPath(owners, session)
        return contents.head(definitions: try path.map { try prelude($0, session) } ?? [:]) { !removed.contains($0.id) }
    }

    /// The search path of these roles where it is one role, else of the owner of the database.
    private func searchPath(_ owners: Set<String>, _ session: PostgresConnection) throws -> PostgresSearchPath {
        let roles = owners.subtracting(["", "pg_database_owner"])
        let role = roles.count == 1 ? roles.first ?? settings.owner : settings.owner
        return try PostgresSearchPath(of: role, settings, session)
    }

    /// The entry that sets the search path of pg_restore's sessions, with another path.
    private func prelude(_ path: PostgresSearchPath, _ session: PostgresConnection) throws -> [Int64: String] {
        guard let entry = contents.entries.first(where: { $0.kind == "SEARCHPATH" }) else { return [:] }
        return [entry.id: "SELECT pg_catalog.set_config('search_path', \(try session.literal(path.list)), false);\n"]
    }

    /// Returns the numbers of those that were made. Of any section: by themselves comments and grants, which are of none,
    /// would count as what comes before the data.
    private func makeAgain(_ entries: [ArchiveContents.Entry], _ options: [String]) throws -> Set<Int64> {
        let session = try store.session(target, cancellation)
        let ids = Set(entries.map(\.id))
        var definitions = adaptation.definitions
        // The default version of an extension whose captured version cannot be created.
        for entry in entries where entry.kind == "EXTENSION" { definitions[entry.id] = nil }
        definitions.merge(try prelude(searchPath(Set(entries.map(\.owner)), session), session)) { _, new in new }
        let head = contents.head(definitions: definitions) { ids.contains($0.id) || Self.preludes.contains($0.kind) }
        let failed = Set(try restore(options, head).map(\.entry.id))
        for entry in entries where entry.kind == "EXTENSION" && adaptation.definitions[entry.id] != nil {
            guard !failed.contains(entry.id) else { continue }
            progress.report(
                .warning(
                    LifeboatError(
                        "extension '\(entry.tag)' has the default version of the server: the captured one cannot be"
                            + " created")))
        }
        return ids.subtracting(failed)
    }

    /// Runs pg_restore over the entries of a head. Returns what failed, in the order of the archive.
    private func restore(_ options: [String], _ head: [UInt8]) throws -> [ArchiveErrors.Failure] {
        let result = try client.run(
            "pg_restore", ["--verbose"] + options, file: head, database: target, errorLimit: Self.errorLimit,
            cancellation)
        guard !result.termination.succeeded else { return [] }
        let errors = ArchiveErrors(result.standardError, contents)
        guard case .exited(1) = result.termination, errors.isComplete else {
            throw LifeboatError(
                PostgresLoad.subject(target),
                causes: ["pg_restore: \(result.termination)"] + ProcessResult.lastLines(of: result.standardError),
                hint: "The live database was not touched.")
        }
        return errors.failures
    }

    /// Takes out of `failures` the extensions that refuse this database and what fails for want of them.
    private mutating func setAside(_ failures: [ArchiveErrors.Failure]) throws -> [ArchiveErrors.Failure] {
        var rest: [ArchiveErrors.Failure] = []
        for failure in failures {
            let entry = failure.entry
            if entry.kind == "EXTENSION" {
                let session = try store.session(target, cancellation)
                // Not yet made with a version, which may be another one than the server's default.
                guard let state = try refusal(of: entry, session), Self.refusals.contains(state) else {
                    rest.append(failure)
                    continue
                }
                progress.report(
                    .note("extension '\(entry.tag)' is created after the exchange: \(failure.causes.first ?? "")"))
                waiting.append(entry)
            } else if ArchiveErrors.isDispensable(entry), waitsFor(entry) {
                waiting.append(entry)
            } else {
                rest.append(failure)
            }
        }
        return rest
    }

    /// SQLSTATE of the failure to create it; nil when it was created all the same.
    private func refusal(of entry: ArchiveContents.Entry, _ session: PostgresConnection) throws -> String? {
        do {
            try session.run(script: entry.definition, subject: "cannot create \(entry.shown)")
            return nil
        } catch let error as PostgresError {
            guard let state = error.sqlState else { throw error }
            return state
        }
    }

    /// Whether it depends on something that waits, or on a part of an extension (which is no entry of the archive).
    private func waitsFor(_ entry: ArchiveContents.Entry) -> Bool {
        guard !waiting.isEmpty else { return false }
        return entry.dependencies.contains { id in
            waiting.contains { $0.id == id } || contents.entry(id) == nil
        }
    }

    /// Adds what has no place before the exchange.
    mutating func wait(for entry: ArchiveContents.Entry) { waiting.append(entry) }
}
