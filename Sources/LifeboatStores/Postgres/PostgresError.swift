// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// What a server says about a failure.
package struct PostgresMessage: Sendable, Equatable {
    /// Five characters, appendix A of the PostgreSQL manual. The only thing decisions are made by.
    package var sqlState: String
    /// `ERROR`, `FATAL`, `WARNING` …
    package var severity: String
    package var message: String
    package var detail: String?
    package var hint: String?

    package init(sqlState: String, severity: String, message: String, detail: String? = nil, hint: String? = nil) {
        self.sqlState = sqlState
        self.severity = severity
        self.message = message
        self.detail = detail
        self.hint = hint
    }

    /// The texts as causes, outermost first.
    var causes: [String] {
        var causes = ["\(message) (SQLSTATE \(sqlState))"]
        if let detail { causes.append(contentsOf: Self.lines(detail)) }
        if let hint { causes.append(contentsOf: Self.lines(hint)) }
        return causes
    }

    static func lines(_ text: String) -> [String] {
        text.split(whereSeparator: \.isNewline)
            .map { line in String(line.drop { $0 == " " || $0 == "\t" }) }
            .filter { !$0.isEmpty }
    }
}

/// What libpq and the server report.
package enum PostgresError: Error, LifeboatErrorConvertible, Equatable {
    /// No server answered at the address.
    case unreachable(address: String, details: [String])
    /// A server answered and refused the session.
    case refused(address: String, database: String, user: String, PostgresMessage)
    /// A statement failed; `subject` says what it was for.
    case failed(subject: String, PostgresMessage)
    /// The session broke.
    case lost(subject: String, details: [String])

    /// Nil when the server said nothing.
    package var sqlState: String? {
        switch self {
        case .refused(_, _, _, let message), .failed(_, let message): message.sqlState
        case .unreachable, .lost: nil
        }
    }

    package var lifeboatError: LifeboatError {
        switch self {
        case .unreachable(let address, let details):
            LifeboatError(
                "cannot reach PostgreSQL at \(address)", causes: details,
                hint: "Start the server, or correct 'host' and 'port' of the component in the policy.")
        case .refused(let address, let database, let user, let message):
            LifeboatError(
                "PostgreSQL at \(address) refuses user '\(user)' for database '\(database)'",
                causes: message.causes, hint: Self.connectionHint(message.sqlState))
        case .failed(let subject, let message):
            LifeboatError(subject, causes: message.causes, hint: Self.statementHint(message.sqlState))
        case .lost(let subject, let details):
            LifeboatError(
                subject, causes: ["the connection to the server was lost"] + details,
                hint: "Look at the server's log, then run the same command again.")
        }
    }

    private static func connectionHint(_ sqlState: String) -> String? {
        switch sqlState {
        case SQLState.invalidPassword, SQLState.invalidAuthorization:
            "Check 'user' and 'password' of the component in the policy, and the server's pg_hba.conf."
        case SQLState.noSuchDatabase: "Check 'database' of the component in the policy."
        case SQLState.insufficientPrivilege: "Grant CONNECT on the database to this user."
        case SQLState.tooManyConnections: "Close some connections or raise the server's max_connections."
        case SQLState.cannotConnectNow: "The server is starting or stopping: run the same command again in a moment."
        default: nil
        }
    }

    private static func statementHint(_ sqlState: String) -> String? {
        switch sqlState {
        case SQLState.insufficientPrivilege:
            "Use a superuser, or grant this user what it needs (pg_read_all_data, CREATEDB)."
        case SQLState.diskFull: "Free some space on the server's file system, then run the same command again."
        default: nil
        }
    }
}

/// The SQLSTATE values that lifeboat acts on: appendix A of the PostgreSQL manual.
enum SQLState {
    static let invalidPassword = "28P01"
    static let invalidAuthorization = "28000"
    static let noSuchDatabase = "3D000"
    static let insufficientPrivilege = "42501"
    static let duplicateObject = "42710"
    static let tooManyConnections = "53300"
    static let diskFull = "53100"
    static let objectInUse = "55006"
    static let invalidParameterValue = "22023"
    static let cannotConnectNow = "57P03"
    static let featureNotSupported = "0A000"
    static let foreignKeyViolation = "23503"
    static let lockNotAvailable = "55P03"
    static let notInPrerequisiteState = "55000"
    static let raisedException = "P0001"
}
