// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import LifeboatCore

/// Rows on their way into a table: COPY … FROM STDIN. Given up by ending the session.
struct PostgresCopy {
    private let session: PostgresConnection
    private let subject: String

    /// Begins it; the session does nothing else until `finish`.
    init(_ session: PostgresConnection, _ sql: String, subject: String) throws {
        self.session = session
        self.subject = subject
        guard PQsendQuery(session.connection, sql) == 1 else { throw session.lost(subject) }
        guard let result = PQgetResult(session.connection) else { throw session.lost(subject) }
        defer { PQclear(result) }
        guard PQresultStatus(result) == PGRES_COPY_IN else {
            throw PostgresError.failed(subject: subject, PostgresConnection.message(result))
        }
    }

    /// What the server thinks of it is told by `finish`.
    func write(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while !rest.isEmpty {
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(1 << 20))
            let start = piece.bindMemory(to: CChar.self).baseAddress
            guard PQputCopyData(session.connection, start, Int32(piece.count)) == 1 else {
                throw session.lost(subject)
            }
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(piece.count))
        }
    }

    func finish(_ cancellation: Cancellation) throws {
        guard PQputCopyEnd(session.connection, nil) == 1 else { throw session.lost(subject) }
        _ = try session.results(subject, cancellation)
    }
}
