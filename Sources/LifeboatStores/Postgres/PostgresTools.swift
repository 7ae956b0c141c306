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
    /// The container they run in; nil: this host.
    var container: (engine: String, id: String)?
    /// Nil: they are looked up in PATH.
    var folder: String?
    var version: PostgresVersion

    private func path(_ name: String) -> String { folder.map { "\($0)/\(name)" } ?? name }

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

    /// How a program gets its standard input; decides what a shell in a container does with it.
    enum Input {
        /// The first line is the password; the program itself reads nothing. Inside a container it is ended when the
        /// rest of the input ends: nobody else would end it there when lifeboat dies.
        case untilClosed
        /// The first line is the password, the rest is for the program.
        case stream
        /// The first line is the password, the rest becomes a file whose path is the program's last argument.
        case file
    }

    /// The shell of a container takes the password from its input, so that it is in no argument on the way there.
    ///
    /// In an image of PostgreSQL the server is process 1, and so the parent of whatever loses its own; a child that dies
    /// of a signal is a crashed session to it, for which it throws everybody out. So the shell outlives what it starts,
    /// waits for each of them, and ends none that is not its child.
    private static let scripts: [Input: String] = [
        .untilClosed: """
        IFS= read -r PGPASSWORD; [ -z "$PGPASSWORD" ] && unset PGPASSWORD || export PGPASSWORD
        exec 3<&0; "$@" 3<&- </dev/null & program=$!
        { while read -r line <&3; do :; done; kill "$program" 2>/dev/null; } >/dev/null & watch=$!
        exec 3<&-; wait "$program"; status=$?; kill "$watch" 2>/dev/null; wait "$watch"; exit "$status"
        """,
        .stream: """
        IFS= read -r PGPASSWORD; [ -z "$PGPASSWORD" ] && unset PGPASSWORD || export PGPASSWORD; exec "$@"
        """,
        .file: """
        IFS= read -r PGPASSWORD; [ -z "$PGPASSWORD" ] && unset PGPASSWORD || export PGPASSWORD
        LC_ALL=C; export LC_ALL; file=$(mktemp) || exit 1; trap 'rm -f "$file"' EXIT; cat >"$file" && "$@" "$file"
        """,
    ]

    /// The command line of a program where it runs.
    func command(
        _ program: String, _ arguments: [String], environment: [String: String?] = [:], input: Input? = nil
    ) -> ProcessCommand {
        guard let container else {
            return ProcessCommand(
                path(program), arguments, environment: environment, inherits: .postgresClient)
        }
        guard let input, let script = Self.scripts[input] else {
            return ProcessCommand(
                container.engine, ["exec", container.id, path(program)] + arguments, inherits: .containerEngine)
        }
        return ProcessCommand(
            container.engine, ["exec", "-i", container.id, "sh", "-c", script, "sh", path(program)] + arguments,
            inherits: .containerEngine)
    }

    /// Finds `programs` for a server: in its container when it has one; else in `folder` when one is given, else where
    /// Debian's packages put them, else in PATH. pg_dump refuses servers newer than itself; that is checked here,
    /// before anything starts.
    static func find(
        _ programs: [String], server: PostgresVersion, folder: String?, container: ServerContainer? = nil,
        atLeast: PostgresVersion? = nil, runner: any ProcessRunner
    ) throws -> PostgresTools {
        var places = folder.map { [$0] } ?? ["/usr/lib/postgresql/\(server.major)/bin", nil]
        if container != nil { places = [folder] }
        let inside = try container.map { (engine: $0.engine, id: try $0.identifier(runner)) }
        let needed = max(server.major, atLeast?.major ?? 0)
        var tooOld: PostgresVersion?
        var failure: (any Error)?
        for place in places {
            if folder == nil, let place, access("\(place)/\(programs[0])", X_OK) != 0 { continue }
            let tools = PostgresTools(container: inside, folder: place, version: server)
            do {
                let versions = try programs.map { try tools.version(of: $0, runner) }
                guard let lowest = versions.min() else { continue }
                if lowest.major >= needed {
                    return PostgresTools(container: inside, folder: place, version: lowest)
                }
                tooOld = lowest
            } catch {
                failure = error
            }
        }
        let hint =
            if let container {
                "Use an image of \(container) with the programs of version \(needed), or leave the container out of the"
                    + " policy and install the package postgresql-client-\(needed)."
            } else {
                "Install the package postgresql-client-\(needed), or name the folder of its programs with 'binaries'"
                    + " of the component in the policy."
            }
        if let tooOld {
            throw LifeboatError(
                "\(programs[0]) is too old: it is version \(tooOld)",
                causes: ["version \(needed) or newer is needed for server version \(server)"], hint: hint)
        }
        if let failure { throw LifeboatError.converting(failure, hint: hint).withHint(hint) }
        throw LifeboatError("cannot find \(programs[0])", hint: hint)
    }

    private func version(of program: String, _ runner: any ProcessRunner) throws -> PostgresVersion {
        let result = try runner.run(command(program, ["--version"]), deadline: 60)
        let text = String(decoding: result.standardOutput, as: UTF8.self)
        guard result.termination.succeeded, let version = PostgresVersion(text) else {
            throw LifeboatError(
                "'\(path(program)) --version' does not tell a version",
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
