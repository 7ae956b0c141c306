// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Points of a collection, counted one by one.
extension QdrantStore: NumberSource {
    package func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        guard case .points(let collection) = question else { throw question.notAnswered(by: subject) }
        return Double(try points(collection, cancellation: cancellation))
    }
}

/// Records of a collection.
extension ChromaStore: NumberSource {
    package func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        guard case .points(let collection) = question else { throw question.notAnswered(by: subject) }
        return Double(try points(collection, cancellation: cancellation))
    }
}

/// The server that runs on the folder is asked.
extension ChromaFolderStore: NumberSource {
    package func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        guard let server else {
            throw LifeboatError(
                "the records in \(subject) cannot be counted", causes: ["the policy names no server for it"],
                hint: "Add 'url' to the component.", exitCode: .usage)
        }
        return try server.number(question, cancellation)
    }
}

/// Keys of one database.
extension RedisStore: NumberSource {
    package func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        guard case .keys(let database) = question else { throw question.notAnswered(by: subject) }
        return Double(try keyCount(database: database, cancellation: cancellation))
    }
}

/// Files below the folder.
extension ModelsStore: NumberSource {
    package func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        guard case .files = question else { throw question.notAnswered(by: subject) }
        return try VolumeStore(path: path).number(question, cancellation)
    }
}

/// A query on the live database, in a transaction of its own.
extension SQLiteStore: NumberSource {
    package func number(_ question: CheckQuestion, _ cancellation: Cancellation) throws -> Double {
        guard case .sql(let sql) = question else { throw question.notAnswered(by: subject) }
        let live = try open(cancellation)
        defer { live.prepareClosing() }
        return try live.connection.number(answering: sql, cancellation)
    }
}

extension SQLiteConnection {
    /// What a query of the policy gives.
    func number(answering sql: String, _ cancellation: Cancellation) throws -> Double {
        let rows = try query(sql, "ask", limit: 1, cancellation: cancellation)
        return try CheckQuestion.number(rows.first?.first ?? nil)
    }
}

extension SQLiteStore {
    /// The first column of the first row a query gives; nil is NULL or no row.
    package func scalar(_ sql: String, _ cancellation: Cancellation) throws -> String? {
        let live = try open(cancellation)
        defer { live.prepareClosing() }
        return try live.connection.query(sql, "ask", limit: 1, cancellation: cancellation).first?.first ?? nil
    }
}
