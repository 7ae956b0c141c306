// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Makes what pg_restore could not make, entry by entry, in a session with the search path of the owner: functions that
/// name tables without a schema work there. What fails again is reported as missing.
///
/// The server's SQLSTATE decides: what this server lacks is missing; a full disk, a server that stops or is short of
/// memory end the restore.
struct PostgresSecondTry {
    let session: PostgresConnection
    let progress: any ProgressSink
    let cancellation: Cancellation

    /// Connection failures, of dblink and foreign servers (appendix A of the PostgreSQL manual).
    private static let connectionClasses: Set<String> = ["08", "HV"]
    /// Insufficient resources, operator intervention, system errors, internal errors.
    private static let passingClasses: Set<String> = ["53", "57", "58", "XX"]

    /// Entries whose object gets an owner with a statement of its own.
    private static let kindsWithoutOwner: Set<String> = [
        "ACL", "CHECK CONSTRAINT", "COMMENT", "CONSTRAINT", "DEFAULT ACL", "FK CONSTRAINT", "INDEX", "INDEX ATTACH",
        "MATERIALIZED VIEW DATA", "RULE", "SECURITY LABEL", "TRIGGER",
    ]

    /// Whether an object of that kind belongs to who makes it.
    static func needsOwner(_ kind: String) -> Bool { !kindsWithoutOwner.contains(kind) }

    func make(_ failures: [ArchiveErrors.Failure]) throws {
        var lacksNetwork = false
        for failure in failures {
            try cancellation.check()
            let entry = failure.entry
            guard let message = try attempt(entry) else { continue }
            let stateClass = String(message.sqlState.prefix(2))
            var told = LifeboatError("\(entry.shown) cannot be made", causes: message.causes)
            if Self.passingClasses.contains(stateClass) {
                throw LifeboatError(told.message, causes: told.causes, hint: "The live database was not touched.")
            }
            var isRemote = Self.connectionClasses.contains(stateClass)
            if entry.kind == "MATERIALIZED VIEW DATA" {
                told.message = "materialized view \(PostgresNames.shown(entry.schema)).\(entry.tag) cannot be filled"
                told.hint = "Run REFRESH MATERIALIZED VIEW once what it reads is there."
                // One that is built on another that could not be filled for the same reason.
                isRemote = isRemote || lacksNetwork && message.sqlState == SQLState.notInPrerequisiteState
            }
            lacksNetwork = lacksNetwork || isRemote
            progress.report(.incomplete(told, needsNetwork: isRemote))
        }
    }

    /// Nil when it was made; what the server says otherwise. Throws when the session is lost.
    private func attempt(_ entry: ArchiveContents.Entry) throws -> PostgresMessage? {
        // Grants to some roles must not be lost for those to another.
        let isList = entry.kind == "ACL" || entry.kind == "DEFAULT ACL"
        let statements = isList ? SQLStatements.split(entry.definition) : [entry.definition]
        var failure: PostgresMessage?
        for statement in statements {
            do {
                let subject = "cannot make \(entry.shown)"
                try session.transaction(subject) {
                    if Self.needsOwner(entry.kind), !entry.owner.isEmpty {
                        try session.execute("SET LOCAL ROLE \(session.identifier(entry.owner))", subject: subject)
                    }
                    try session.run(script: statement, subject: subject, cancellation: cancellation)
                }
            } catch let error as PostgresError {
                guard case .failed(_, let message) = error else { throw error }
                failure = failure ?? message
            }
        }
        return failure
    }
}
