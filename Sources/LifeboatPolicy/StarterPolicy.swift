// SPDX-License-Identifier: Apache-2.0

/// The commented policy that `lifeboat init` writes: valid as it stands, with everything else this version knows shown
/// in comments.
package enum StarterPolicy {
    /// A database to put into it. Without a password reference the login is left to libpq (peer, `~/.pgpass`).
    package struct Database: Sendable, Equatable {
        package var name: String
        package var user: String?
        package var host: String?
        package var port: Int?
        /// Environment variable that holds the password.
        package var passwordVariable: String?

        package init(
            name: String, user: String? = nil, host: String? = nil, port: Int? = nil, passwordVariable: String? = nil
        ) {
            self.name = name
            self.user = user
            self.host = host
            self.port = port
            self.passwordVariable = passwordVariable
        }
    }

    /// The text. `stack` must be a valid name (see `stackName(from:)`); the other values may be any text without NUL.
    ///
    /// `found`: what there is to protect; without any component of it, `volume` and `database` are. `compose`: the Compose
    /// file whose services a restore stops and starts.
    package static func text(
        stack: String, repository: String, volume: String = "./data", database: Database? = nil,
        found: StackDiscovery? = nil, compose: String? = nil
    ) -> String {
        """
        # lifeboat policy: what this stack is, where its snapshots go, and how to tell that it is well.
        # Relative paths start at the folder of this file.
        stack: \(quoted(stack))

        # A folder on another disk or machine than the data; made by: lifeboat repository init
        repository: \(quoted(repository))

        # Unencrypted: whoever can read the repository can read every snapshot. For an encrypted one make a key with
        # 'lifeboat key generate' or choose a passphrase, and write {recipients: [age1...]} or
        # {passphrase: {file: PATH}} instead of none.
        encryption: none

        # What to protect. Each component has a name of your choice and one store.
        components:
        \(found.flatMap(componentLines) ?? componentLines(volume, database))
        \(serviceLines(compose))
        # How to tell that the stack is well after a restore. Each question is asked again until it passed
        # 'consecutive' times in a row, or the time 'within' is over.
        # health:
        #   - {http: "http://127.0.0.1:8080/health", status: 200, within: 90s}
        #   - {http: "http://127.0.0.1:8080/health", field: "status", equals: "ok", consecutive: 3, interval: 2s}
        #   - {tcp: "127.0.0.1:6379"}
        #   - {command: ["./check-stack", "--quick"], within: 30s}
        #   - {postgres: database, sql: "select count(*) > 0 from documents", equals: "t"}

        # What is kept; everything when left out. Applied after every complete backup ('lifeboat forget --dry-run' shows
        # what it comes to). Days are those of this host's clocks, or of 'timezone: Europe/Berlin'.
        retention: {last: 3, daily: 7, weekly: 4, monthly: 12, yearly: 2, within: 48h}

        # How fast the stack must come back, and how much work may be lost at most.
        objectives: {rto: 4h, rpo: 24h}

        # How recoveries are rehearsed ('lifeboat drill'): where sandboxes are made, and what is asked of what came back.
        # drill:
        #   folder: /var/tmp
        #   probes:
        #     - {name: documents, component: database, sql: "select count(*) from documents"}
        #     - {command: [./check-copy]}

        """
    }

    /// `text` turned into a valid stack name: `My App (new)` → `my-app-new`; `stack` when nothing is left.
    package static func stackName(from text: String) -> String {
        var name = ""
        for byte in text.lowercased().utf8 {
            let isAlphanumeric = (97...122).contains(byte) || (48...57).contains(byte)
            if isAlphanumeric || ([46, 95].contains(byte) && !name.isEmpty) {
                name.unicodeScalars.append(Unicode.Scalar(byte))
            } else if !name.isEmpty, name.last != "-" {
                name.append("-")
            }
        }
        name = String(name.prefix(64))
        while name.last == "-" { name.removeLast() }
        return name.isEmpty ? "stack" : name
    }

    /// Nil when nothing was found that can be a component.
    private static func componentLines(_ found: StackDiscovery) -> String? {
        guard !found.components.isEmpty else { return nil }
        var lines = found.components.flatMap { component in
            ["\(component.name):"] + component.lines.map { "  \($0)" }
        }
        lines += found.remarks
        return lines.map { "  \($0)\n" }.joined()
    }

    private static func componentLines(_ volume: String, _ database: Database?) -> String {
        """
          documents:
            volume:
              path: \(quoted(volume))
              # Names or paths to leave out; '*' stops at a slash, '**' does not. Quote them.
              # exclude: ["*.tmp", "cache/**"]
              # exclude_caches: false      # true: skip folders marked by a CACHEDIR.TAG
              # one_file_system: true      # false: also what is mounted below the path
        \(databaseLines(database))
        """
    }

    private static func serviceLines(_ compose: String?) -> String {
        guard let compose else {
            return """
                # How to stop and start what uses the data, for a restore. One command is a line, or a list of words; it runs
                # without a shell, in the folder of this file.
                # services:
                #   commands:
                #     stop: ["systemctl stop my-api"]
                #     start: ["systemctl start my-api"]
                #     status: ["systemctl is-active --quiet my-api"]   # exit 0 while it runs
                # Instead of 'commands': 'compose: {file: docker-compose.yml}', or 'systemd: {units: [my-api]}'.

                """
        }
        return """
            # What a restore stops and starts: all services of the project, or those that 'services' names.
            services:
              compose:
                file: \(quoted(compose))
                # services: [api, worker]

            """
    }

    private static func databaseLines(_ database: Database?) -> String {
        guard let database else {
            return """
                  # database:
                  #   postgres:
                  #     host: 127.0.0.1
                  #     port: 5432
                  #     database: my_database
                  #     user: my_user
                  #     password: {env: POSTGRES_PASSWORD}   # or {file: …}, {command: […]}, {credential: …}

                """
        }
        var lines = ["  database:", "    postgres:"]
        if let host = database.host { lines.append("      host: \(quoted(host))") }
        if let port = database.port { lines.append("      port: \(port)") }
        lines.append("      database: \(quoted(database.name))")
        if let user = database.user { lines.append("      user: \(quoted(user))") }
        if let variable = database.passwordVariable {
            lines.append("      password: {env: \(quoted(variable))}   # or {file: …}, {command: […]}, {credential: …}")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// A YAML scalar that reads back as `text`: plain when nothing can be taken amiss, else in double quotes.
    static func quoted(_ text: String) -> String {
        let plainBytes = text.utf8.allSatisfy { byte in
            (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte)
                || [45, 46, 47, 95].contains(byte)
        }
        let words = ["", "~", "null", "true", "false", "yes", "no", "on", "off", "-", "---", "..."]
        if plainBytes, !words.contains(text.lowercased()), text.first != "-" { return text }
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\t": quoted += "\\t"
            case _ where scalar.value < 32 || (127...159).contains(scalar.value):
                let hex = String(scalar.value, radix: 16)
                quoted += "\\x" + String(repeating: "0", count: 2 - hex.count) + hex
            case "\u{2028}", "\u{2029}", "\u{FEFF}": quoted += "\\u" + String(scalar.value, radix: 16)
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
