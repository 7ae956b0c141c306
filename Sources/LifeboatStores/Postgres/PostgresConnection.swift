// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import Glibc
package import LifeboatCore

/// The rows a statement gave, as text; nil is SQL NULL.
package struct PostgresRows: Sendable, Equatable {
    package var columns: [String]
    package var rows: [[String?]]

    /// The first column of the first row.
    package var scalar: String? { rows.first?.first ?? nil }
}

/// One session. Not thread-safe: used by one thread at a time (behind a `Monitor` where it must travel).
package final class PostgresConnection {
    let connection: OpaquePointer
    private let noticeBox: NoticeBox
    /// Whom this session talks to, for messages.
    package let address: String
    /// 150018 is 15.18.
    package let serverVersion: Int

    /// What the server said besides results, newest last; capped.
    package var notices: [PostgresMessage] { noticeBox.notices }
    package var serverMajor: Int { serverVersion / 10_000 }
    /// `15.18`.
    package var serverVersionText: String { "\(serverVersion / 10_000).\(serverVersion % 10_000)" }

    private final class NoticeBox {
        static let limit = 100
        var notices: [PostgresMessage] = []
    }

    /// Connects. Blocks until the session stands, the endpoint's timeout has passed or `cancellation` fires.
    package init(_ endpoint: PostgresEndpoint, database: String, cancellation: Cancellation? = nil) throws {
        var keywords = endpoint.keywords(database)
        endpoint.password?.reveal { keywords.append(("password", $0)) }
        guard
            let connection = Self.withCStrings(
                keywords.map { $0.name },
                { names in
                    // The database name is not expanded as a connection string (last argument 0).
                    Self.withCStrings(keywords.map { $0.value }) { PQconnectStartParams(names, $0, 0) }
                })
        else {
            throw PostgresError.unreachable(address: endpoint.address, details: ["out of memory"])
        }
        do {
            try Self.complete(connection, endpoint, database, cancellation)
        } catch {
            PQfinish(connection)
            throw error
        }
        self.connection = connection
        address = endpoint.address
        serverVersion = Int(PQserverVersion(connection))
        noticeBox = NoticeBox()
        // The box lives as long as this object, and the session ends in its deinit.
        PQsetNoticeReceiver(
            connection,
            { context, result in
                guard let context, let result else { return }
                let box = Unmanaged<NoticeBox>.fromOpaque(context).takeUnretainedValue()
                if box.notices.count < NoticeBox.limit { box.notices.append(PostgresConnection.message(result)) }
            }, Unmanaged.passUnretained(noticeBox).toOpaque())
    }

    deinit { PQfinish(connection) }

    /// Drives the connection attempt to its end.
    private static func complete(
        _ connection: OpaquePointer, _ endpoint: PostgresEndpoint, _ database: String, _ cancellation: Cancellation?
    ) throws {
        // The SQLSTATE of a refused session is told in the error text only, and there in the verbose form alone.
        PQsetErrorVerbosity(connection, PQERRORS_VERBOSE)
        let end = ContinuousClock.now.advanced(by: .seconds(endpoint.connectTimeout))
        var step = PGRES_POLLING_WRITING
        while PQstatus(connection) != CONNECTION_BAD {
            if step == PGRES_POLLING_OK {
                PQsetErrorVerbosity(connection, PQERRORS_DEFAULT)
                return
            }
            if step == PGRES_POLLING_FAILED { break }
            try cancellation?.check()
            guard ContinuousClock.now < end else {
                throw PostgresError.unreachable(
                    address: endpoint.address, details: ["no answer within \(endpoint.connectTimeout) s"])
            }
            let events = step == PGRES_POLLING_READING ? POLLIN : POLLOUT
            if waitForSocket(connection, events, milliseconds: pollMilliseconds) { step = PQconnectPoll(connection) }
        }
        let text = String(cString: PQerrorMessage(connection))
        func refused(_ message: PostgresMessage) -> PostgresError {
            .refused(address: endpoint.address, database: database, user: endpoint.user, message)
        }
        if PQconnectionNeedsPassword(connection) != 0 {
            throw refused(
                PostgresMessage(
                    sqlState: SQLState.invalidPassword, severity: "FATAL",
                    message: "the server asks for a password and none was given"))
        }
        if let message = refusal(text) { throw refused(message) }
        throw PostgresError.unreachable(address: endpoint.address, details: PostgresMessage.lines(text))
    }

    /// Finds `FATAL:  28P01: password authentication failed …`, the verbose form of a server's refusal.
    package static func refusal(_ text: String) -> PostgresMessage? {
        for line in text.split(whereSeparator: \.isNewline).reversed() {
            let parts = line.split(separator: ":  ", maxSplits: 1)
            guard parts.count == 2, let colon = parts[1].firstIndex(of: ":") else { continue }
            let code = parts[1][..<colon]
            guard code.utf8.count == 5, code.utf8.allSatisfy({ (48...57).contains($0) || (65...90).contains($0) })
            else { continue }
            let severity = parts[0].split(separator: " ").last ?? "FATAL"
            let message = parts[1][parts[1].index(after: colon)...].drop { $0 == " " }
            return PostgresMessage(sqlState: String(code), severity: String(severity), message: String(message))
        }
        return nil
    }

    /// How often a wait looks at its cancellation.
    private static let pollMilliseconds: Int32 = 50

    /// Runs one statement with text parameters ($1 …). `subject` says in an error what could not be done.
    ///
    /// When `cancellation` fires the server is told to cancel, and `LifeboatError.interrupted` is thrown.
    @discardableResult
    package func execute(
        _ sql: String, _ parameters: [String?] = [], subject: String? = nil, cancellation: Cancellation? = nil
    ) throws -> PostgresRows {
        let subject = subject ?? "cannot query PostgreSQL at \(address)"
        try cancellation?.check()
        let sent = Self.withCStrings(parameters) { values in
            PQsendQueryParams(connection, sql, Int32(parameters.count), nil, values, nil, nil, 0)
        }
        guard sent == 1 else { throw lost(subject) }
        return try results(subject, cancellation)
    }

    /// Runs statements separated by semicolons, up to the first that fails. Their rows are dropped.
    package func run(script: String, subject: String, cancellation: Cancellation? = nil) throws {
        try cancellation?.check()
        guard PQsendQuery(connection, script) == 1 else { throw lost(subject) }
        _ = try results(subject, cancellation)
    }

    /// Waits for all that was sent; the rows are those of the last statement.
    func results(_ subject: String, _ cancellation: Cancellation?) throws -> PostgresRows {
        var rows = PostgresRows(columns: [], rows: [])
        var failure: PostgresError?
        var isCancelled = false
        while true {
            while PQisBusy(connection) == 1 {
                if let cancellation, cancellation.isCancelled, !isCancelled {
                    isCancelled = true
                    cancelOnServer()
                }
                let slice: Int32 = cancellation == nil || isCancelled ? -1 : Self.pollMilliseconds
                if Self.waitForSocket(connection, POLLIN, milliseconds: slice), PQconsumeInput(connection) == 0 {
                    throw lost(subject)
                }
            }
            guard let result = PQgetResult(connection) else { break }
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_TUPLES_OK: rows = Self.rows(result)
            case PGRES_COMMAND_OK, PGRES_EMPTY_QUERY: break
            case PGRES_FATAL_ERROR where lifeboat_pq_sqlstate(result) != nil:
                failure = failure ?? .failed(subject: subject, Self.message(result))
            // A session in that state gives nothing else until it is told to go on.
            case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH: throw lost(subject)
            default: failure = failure ?? lost(subject)
            }
        }
        if isCancelled { throw LifeboatError.interrupted }
        if let failure { throw failure }
        return rows
    }

    /// `name` as a quoted identifier.
    package func identifier(_ name: String) -> String { "\"\(name.replacing("\"", with: "\"\""))\"" }

    /// `value` as a string literal, for statements that take no parameters.
    package func literal(_ value: String) throws -> String {
        guard let escaped = PQescapeLiteral(connection, value, value.utf8.count) else {
            throw lost("cannot quote a value")
        }
        defer { PQfreemem(escaped) }
        return String(cString: escaped)
    }

    private func cancelOnServer() {
        guard let handle = PQgetCancel(connection) else { return }
        defer { PQfreeCancel(handle) }
        // When it does not arrive the statement simply runs to its end; the caller is told `interrupted` either way.
        var buffer = [CChar](repeating: 0, count: 256)
        _ = PQcancel(handle, &buffer, Int32(buffer.count))
    }

    func lost(_ subject: String) -> PostgresError {
        .lost(subject: subject, details: PostgresMessage.lines(String(cString: PQerrorMessage(connection))))
    }

    private static func waitForSocket(_ connection: OpaquePointer, _ events: Int32, milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: PQsocket(connection), events: Int16(events), revents: 0)
        return poll(&entry, 1, milliseconds) > 0
    }

    private static func rows(_ result: OpaquePointer) -> PostgresRows {
        let width = PQnfields(result)
        let columns = (0..<width).map { String(cString: PQfname(result, $0)) }
        let rows = (0..<PQntuples(result)).map { row in
            (0..<width).map { column -> String? in
                guard PQgetisnull(result, row, column) == 0 else { return nil }
                let bytes = UnsafeRawBufferPointer(
                    start: PQgetvalue(result, row, column), count: Int(PQgetlength(result, row, column)))
                return String(decoding: bytes, as: UTF8.self)
            }
        }
        return PostgresRows(columns: columns, rows: rows)
    }

    static func message(_ result: OpaquePointer) -> PostgresMessage {
        func text(_ field: UnsafePointer<CChar>?) -> String? { field.map { String(cString: $0) } }
        return PostgresMessage(
            sqlState: text(lifeboat_pq_sqlstate(result)) ?? "XX000",
            severity: text(lifeboat_pq_severity(result)) ?? "ERROR",
            message: text(lifeboat_pq_primary(result)) ?? "unknown error", detail: text(lifeboat_pq_detail(result)),
            hint: text(lifeboat_pq_hint(result)))
    }

    /// The strings as an array of C strings with a null at its end, for the duration of `body`.
    private static func withCStrings<Result>(
        _ strings: [String?], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Result
    ) -> Result {
        let copies = strings.map { string in string.flatMap { strdup($0) } }
        defer {
            for copy in copies.compactMap({ $0 }) {
                // A password may be among them.
                memset(copy, 0, strlen(copy))
                free(copy)
            }
        }
        return body(copies.map { UnsafePointer($0) } + [nil])
    }
}
