// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// The roles of a captured script, and how they are made on a server that lacks them.
package struct PostgresRoles {
    private let statements: [String]
    /// Member and group of every membership in the script.
    package let memberships: [(member: String, group: String)]
    /// Roles the script creates.
    package let defined: Set<String>

    package init(script: String) {
        statements = SQLStatements.split(script)
        var memberships: [(member: String, group: String)] = []
        var defined: Set<String> = []
        for statement in statements {
            guard let roles = PostgresGlobals.concernedRoles(statement) else { continue }
            if roles.count == 2 { memberships.append((roles[0], roles[1])) }
            let words = SQLStatements.words(statement, limit: 1)
            if words == ["CREATE"], let role = roles.first { defined.insert(role) }
        }
        self.memberships = memberships
        self.defined = defined
    }

    /// Roles of the server itself (`pg_monitor` …): no script makes them.
    static func isPredefined(_ role: String) -> Bool { role.hasPrefix("pg_") }

    /// `roles` and all that memberships join to them, members and groups, over any number of steps. Roles of the server
    /// itself join nobody: everybody may be in them.
    package func closure(of roles: Set<String>) -> Set<String> {
        var neighbours: [String: [String]] = [:]
        for (member, group) in memberships where !Self.isPredefined(member) && !Self.isPredefined(group) {
            neighbours[member, default: []].append(group)
            neighbours[group, default: []].append(member)
        }
        var found = roles.filter { !Self.isPredefined($0) }
        var waiting = Array(found)
        while let role = waiting.popLast() {
            for next in neighbours[role] ?? [] where found.insert(next).inserted { waiting.append(next) }
        }
        return found
    }

    /// Creates `missing` with their attributes, settings and memberships; existing roles belong to the running server
    /// and stay as they are. Returns what could not be made; throws when the session is lost.
    func create(
        _ missing: Set<String>, on connection: PostgresConnection, _ cancellation: Cancellation
    ) throws -> [LifeboatError] {
        var failures: [LifeboatError] = []
        var notMade: Set<String> = []
        var grants: [Grant] = []
        for statement in statements {
            guard let roles = PostgresGlobals.concernedRoles(statement), roles.contains(where: missing.contains)
            else { continue }
            let words = SQLStatements.words(statement)
            if words.first == "GRANT" {
                grants.append(Grant(statement: statement, member: roles[0], group: roles[1]))
                continue
            }
            guard let role = roles.first, !notMade.contains(role) else { continue }
            if let failure = try attempt(
                [statement] + Self.withoutDefaults(statement, words), on: connection, cancellation)
            {
                guard words.first == "CREATE" else {
                    failures.append(
                        LifeboatError(
                            "role '\(role)' is not as in the snapshot: cannot run \(words.prefix(2).joined(separator: " ")) for it",
                            causes: failure.causes))
                    continue
                }
                notMade.insert(role)
                failures.append(
                    LifeboatError(
                        "role '\(role)' cannot be created", causes: failure.causes,
                        hint: "Create it by hand, or restore as a superuser."))
            }
        }
        let possible = grants.filter { !notMade.contains($0.member) && !notMade.contains($0.group) }
        failures += try grant(possible, on: connection, cancellation)
        return failures
    }

    private struct Grant {
        var statement: String
        var member: String
        var group: String
    }

    /// Grantors come before what they grant, as far as there is an order; what no order makes possible is granted in this
    /// user's own name.
    private func grant(
        _ grants: [Grant], on connection: PostgresConnection, _ cancellation: Cancellation
    ) throws -> [LifeboatError] {
        var waiting = grants
        while !waiting.isEmpty {
            let failed = try waiting.filter {
                try attempt([$0.statement], on: connection, cancellation) != nil
            }
            if failed.count == waiting.count { break }
            waiting = failed
        }
        return try waiting.compactMap { grant in
            let ways = [grant.statement, Self.withoutGrantor(grant.statement)]
            guard let failure = try attempt(ways, on: connection, cancellation) else { return nil }
            return LifeboatError(
                "role '\(grant.member)' cannot be made a member of '\(grant.group)'", causes: failure.causes,
                hint: "Run GRANT \(PostgresNames.shown(grant.group)) TO \(PostgresNames.shown(grant.member)) as a"
                    + " superuser.")
        }
    }

    /// Runs the first of these that succeeds. Nil when one did; what the server says about the last one otherwise.
    private func attempt(
        _ ways: [String], on connection: PostgresConnection, _ cancellation: Cancellation
    ) throws -> LifeboatError? {
        var last: LifeboatError?
        for statement in ways {
            do {
                try connection.execute(statement, subject: "cannot create roles", cancellation: cancellation)
                return nil
            } catch let error as PostgresError {
                guard case .failed(_, let message) = error else { throw error }
                // Made meanwhile, or by another component of this restore.
                if message.sqlState == SQLState.duplicateObject { return nil }
                last = error.lifeboatError
            }
        }
        return last
    }

    /// `ALTER ROLE … WITH` without the attributes a new role has anyway: only a superuser may name some of them.
    private static func withoutDefaults(_ statement: String, _ words: [String]) -> [String] {
        guard words.count >= 4, words[0] == "ALTER", words[1] == "ROLE", words[3] == "WITH" else { return [] }
        var changed = statement
        for word in ["NOSUPERUSER", "NOREPLICATION", "NOBYPASSRLS", "NOCREATEROLE", "NOCREATEDB"] {
            changed = changed.replacing(" \(word)", with: "", maxReplacements: 1)
        }
        return changed == statement ? [] : [changed]
    }

    /// The statement up to its last `GRANTED BY`, outside of quotes.
    package static func withoutGrantor(_ statement: String) -> String {
        var isQuoted = false
        var end: String.Index?
        for index in statement.indices {
            if statement[index] == "\"" { isQuoted.toggle() }
            if !isQuoted, statement[index...].hasPrefix(" GRANTED BY ") { end = index }
        }
        return end.map { String(statement[..<$0]) } ?? statement
    }
}
