// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// Roles: the part `globals`, plain SQL of `pg_dumpall --globals-only`.
package enum PostgresGlobals {
    /// Thousands of roles are a few megabytes.
    static let limit = 64 << 20
    /// The last line of a whole script.
    private static let trailer = "-- PostgreSQL database cluster dump complete"

    /// Runs pg_dumpall to its end and checks that its script is whole.
    static func capture(
        _ client: PostgresClient, maintenanceDatabase: String, withPasswords: Bool, _ cancellation: Cancellation
    ) throws -> [UInt8] {
        let subject = "cannot dump the roles of PostgreSQL at \(client.endpoint.address)"
        var arguments = ["--globals-only", "--database=\(client.endpoint.connectionString(maintenanceDatabase))"]
        // Only a superuser may read the password hashes.
        if !withPasswords { arguments.append("--no-role-passwords") }
        // Fixed: else two dumps of the same roles would differ by a random word.
        if client.tools.knowsRestrictKey { arguments.append("--restrict-key=lifeboat") }
        let result = try client.run(
            "pg_dumpall", arguments, database: maintenanceDatabase, outputLimit: limit, deadline: 600, cancellation)
        guard result.termination.succeeded else {
            throw LifeboatError(
                subject,
                causes: ["pg_dumpall: \(result.termination)"] + ProcessResult.lastLines(of: result.standardError))
        }
        let tail = String(decoding: result.standardOutput.suffix(200), as: UTF8.self)
        guard tail.contains(trailer) else {
            throw LifeboatError(
                subject, causes: ["its output is truncated"],
                hint: "pg_dumpall ended with status 0 all the same: check that it is the real program.")
        }
        return result.standardOutput
    }

    /// The roles a statement is about, of a membership the member first; nil for everything that is not about roles (tablespaces, SET …).
    package static func concernedRoles(_ statement: String) -> [String]? {
        let words = SQLStatements.words(statement)
        guard words.count >= 3 else { return nil }
        switch (words[0], words[1]) {
        case ("CREATE", "ROLE"), ("ALTER", "ROLE"): return [words[2]]
        case ("SECURITY", "LABEL"):
            guard let position = words.firstIndex(of: "ROLE"), words.indices.contains(position + 1) else { return nil }
            return [words[position + 1]]
        case ("COMMENT", "ON") where words.count >= 4 && words[2] == "ROLE": return [words[3]]
        case ("GRANT", _) where words.count >= 4 && words[2] == "TO": return [words[3], words[1]]
        default: return nil
        }
    }
}
