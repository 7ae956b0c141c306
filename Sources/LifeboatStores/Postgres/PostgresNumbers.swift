// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Numbers of one database for the policy's checks.
extension PostgresStore: NumberSource {
    package func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        guard case .sql(let sql) = question else { throw question.notAnswered(by: subject) }
        return try CheckQuestion.number(try scalar(sql, cancellation: cancellation))
    }
}

/// The whole database is asked.
extension PostgresTableStore: NumberSource {
    package func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        try store.number(question, cancellation)
    }
}

/// Of several databases the first one named is asked.
extension PostgresServerStore: NumberSource {
    package func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        guard case .named(let names) = selection, let first = names.first else {
            throw LifeboatError(
                "\(subject) are not one database", hint: "Name its databases in the policy: the first one is asked.",
                exitCode: .usage)
        }
        return try store(first).number(question, cancellation)
    }
}

/// As of the exported snapshot: what the dump holds.
extension PostgresCapturePoint: NumberSource {
    func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        guard case .sql(let sql) = question else { throw question.notAnswered(by: store.subject) }
        let subject = "a query on \(store.subject) failed"
        return try withConnection { connection in
            // A query that fails must not end the transaction the dump reads from. When the way back fails too, the
            // session is gone, and the dump says so.
            try connection.execute("SAVEPOINT lifeboat_check", subject: subject)
            defer { _ = try? connection.execute("ROLLBACK TO SAVEPOINT lifeboat_check", subject: subject) }
            return try CheckQuestion.number(
                try connection.execute(sql, subject: subject, cancellation: cancellation).scalar)
        }
    }
}
