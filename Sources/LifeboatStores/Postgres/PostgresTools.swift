// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Version of a client program.
package struct PostgresVersion: Equatable, Comparable, CustomStringConvertible {
    package var major: Int
    package var minor: Int

    package static func < (left: PostgresVersion, right: PostgresVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    package var description: String { "\(major).\(minor)" }

    /// From `pg_dump (PostgreSQL) 15.18 (Debian 15.18-1.pgdg)`, `15.18` or `18beta1`: the first word with a digit first.
    package init?(_ text: String) {
        let words = text.split(whereSeparator: { $0 == " " || $0 == "\n" })
        guard let word = words.first(where: { $0.first?.isNumber == true }) else { return nil }
        let parts = word.split(separator: ".", omittingEmptySubsequences: false)
        guard let major = Int(parts[0].prefix { $0.isNumber }) else { return nil }
        self.major = major
        minor = parts.count > 1 ? Int(parts[1].prefix { $0.isNumber }) ?? 0 : 0
    }

    package init(major: Int, minor: Int = 0) {
        self.major = major
        self.minor = minor
    }
}

/// The client programs that fit a server.
struct PostgresTools {
    /// Nil: they are looked up in PATH.
    var folder: String?
    var version: PostgresVersion

    func path(_ name: String) -> String { folder.map { "\($0)/\(name)" } ?? name }

    /// pg_dumpall before these minor versions does not know `--restrict-key` (CVE-2025-8714, August 2025).
    var knowsRestrictKey: Bool {
        switch version.major {
        case 13: version.minor >= 22
        case 14: version.minor >= 19
        case 15: version.minor >= 14
        case 16: version.minor >= 10
        case 17: version.minor >= 6
        default: version.major >= 18
        }
    }

    /// Finds `programs` for a server: in `folder` when one is given, else where Debian's packages put them, else in
    /// PATH. pg_dump refuses servers newer than itself; that is checked here, before anything starts.
    static func find(
        _ programs: [String], server: PostgresVersion, folder: String?, atLeast: PostgresVersion? = nil,
        runner: any ProcessRunner
    ) throws -> PostgresTools {
        let places = folder.map { [$0] } ?? ["/usr/lib/postgresql/\(server.major)/bin", nil]
        let needed = max(server.major, atLeast?.major ?? 0)
        var tooOld: PostgresVersion?
        var failure: (any Error)?
        for place in places {
            if folder == nil, let place, access("\(place)/\(programs[0])", X_OK) != 0 { continue }
            let tools = PostgresTools(folder: place, version: server)
            do {
                let versions = try programs.map { try version(of: tools.path($0), runner) }
                guard let lowest = versions.min() else { continue }
                if lowest.major >= needed { return PostgresTools(folder: place, version: lowest) }
                tooOld = lowest
            } catch {
                failure = error
            }
        }
        let hint =
            "Install the package postgresql-client-\(needed), or name the folder of its programs with 'binaries' of the"
            + " component in the policy."
        if let tooOld {
            throw LifeboatError(
                "\(programs[0]) is too old: it is version \(tooOld)",
                causes: ["version \(needed) or newer is needed for server version \(server)"], hint: hint)
        }
        if let failure { throw LifeboatError.converting(failure, hint: hint).withHint(hint) }
        throw LifeboatError("cannot find \(programs[0])", hint: hint)
    }

    private static func version(of program: String, _ runner: any ProcessRunner) throws -> PostgresVersion {
        let result = try runner.run(ProcessCommand(program, ["--version"]), deadline: 30)
        let text = String(decoding: result.standardOutput, as: UTF8.self)
        guard result.termination.succeeded, let version = PostgresVersion(text) else {
            throw LifeboatError(
                "'\(program) --version' does not tell a version",
                causes: ["\(result.termination)"] + ProcessResult.lastLines(of: result.standardError))
        }
        return version
    }
}

extension LifeboatError {
    fileprivate func withHint(_ hint: String) -> LifeboatError {
        var copy = self
        copy.hint = hint
        return copy
    }
}

/// Runs client programs against one endpoint. The password reaches them through a file in memory, never through
/// arguments or environment.
struct PostgresClient {
    let endpoint: PostgresEndpoint
    let tools: PostgresTools
    let runner: any ProcessRunner

    /// A command and the file that must live as long as its process.
    struct Prepared {
        var command: ProcessCommand
        var passwordFile: ProcessSecretFile?
    }

    func prepare(_ program: String, _ arguments: [String], database: String) throws -> Prepared {
        // What of libpq's environment would send the program elsewhere than our own session. Certificates stay.
        var environment: [String: String?] = [:]
        for name in ["PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE", "PGOPTIONS"] {
            environment.updateValue(nil, forKey: name)
        }
        environment["PGCONNECT_TIMEOUT"] = "\(max(2, Int(endpoint.connectTimeout.rounded(.up))))"
        var file: ProcessSecretFile?
        if let password = endpoint.password {
            let line = try password.reveal { plain in
                guard !plain.utf8.contains(0x0A) else {
                    throw LifeboatError(
                        "the password of user '\(endpoint.user)' holds a line break",
                        hint: "PostgreSQL's programs take no such password from a file; choose another one.")
                }
                return "*:*:*:*:" + plain.replacing("\\", with: "\\\\").replacing(":", with: "\\:") + "\n"
            }
            let made = try ProcessSecretFile(line)
            environment["PGPASSFILE"] = made.path
            environment.updateValue(nil, forKey: "PGPASSWORD")
            file = made
        }
        return Prepared(
            command: ProcessCommand(
                tools.path(program),
                ["--no-password", "--dbname=\(endpoint.connectionString(database))"] + arguments,
                environment: environment),
            passwordFile: file)
    }
}
