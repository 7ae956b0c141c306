// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Which variables of lifeboat's own environment a child process gets. Secrets that a policy names with `{env}` are in
/// that environment, so a child gets what its program needs and nothing else.
package struct InheritedEnvironment: Sendable, Equatable {
    private var names: Set<String>
    private var prefixes: [String]
    /// Nil: only what is listed. Else every variable but these.
    private var everythingBut: Set<String>?

    private init(names: Set<String> = [], prefixes: [String] = [], everythingBut: Set<String>? = nil) {
        self.names = names
        self.prefixes = prefixes
        self.everythingBut = everythingBut
    }

    /// What any program needs: where programs and libraries are, who runs it, language, time zone, temporary files.
    package static let base = InheritedEnvironment(
        names: [
            "PATH", "LD_LIBRARY_PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LOCPATH", "TZ", "TZDIR",
            "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
        ], prefixes: ["LC_"])

    /// For PostgreSQL's client programs: libpq's settings, Kerberos, OpenSSL.
    package static let postgresClient = base.adding(["OPENSSL_CONF"], prefixes: ["PG", "KRB5"])

    /// For docker and its like: which engine, over ssh or through a proxy, and the user's settings.
    package static let containerEngine = base.adding(
        [
            "CONTAINER_HOST", "CONTAINER_CONNECTION", "CONTAINER_SSHKEY", "CONTAINERS_CONF", "SSH_AUTH_SOCK",
            "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS", "HTTP_PROXY",
            "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
        ], prefixes: ["DOCKER_", "COMPOSE_", "BUILDKIT_", "BUILDX_"])

    /// For systemctl: the bus of the user's own manager.
    package static let systemd = base.adding(
        ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS"], prefixes: ["SYSTEMD_"])

    /// For programs that a policy names, whose needs only the operator knows: everything. `WithholdingProcessRunner`
    /// takes out what the policy names as a secret.
    package static let everything = InheritedEnvironment(everythingBut: [])

    private func adding(_ names: Set<String>, prefixes: [String]) -> InheritedEnvironment {
        InheritedEnvironment(names: self.names.union(names), prefixes: self.prefixes + prefixes)
    }

    /// The same without these variables.
    package func without(_ withheld: Set<String>) -> InheritedEnvironment {
        var copy = self
        if let everythingBut {
            copy.everythingBut = everythingBut.union(withheld)
        } else {
            copy.withheld.formUnion(withheld)
        }
        return copy
    }

    /// Listed, and yet not given.
    private var withheld: Set<String> = []

    /// Whether a child gets that variable.
    package func passes(_ name: String) -> Bool {
        if let everythingBut { return !everythingBut.contains(name) }
        guard !withheld.contains(name) else { return false }
        return names.contains(name) || prefixes.contains { name.hasPrefix($0) }
    }

    /// Those of `variables` that a child gets.
    package func filtered(_ variables: [String: String]) -> [String: String] {
        variables.filter { passes($0.key) }
    }
}

/// Keeps variables from every child of another runner, unless a command sets them itself.
package struct WithholdingProcessRunner: ProcessRunner {
    private let runner: any ProcessRunner
    private let withheld: Set<String>

    package init(_ runner: any ProcessRunner, withholding withheld: Set<String>) {
        self.runner = runner
        self.withheld = withheld
    }

    private func reduced(_ command: ProcessCommand) -> ProcessCommand {
        var command = command
        command.inherits = command.inherits.without(withheld)
        return command
    }

    package func run(
        _ command: ProcessCommand, input: [UInt8], outputLimit: Int, deadline: Double?, cancellation: Cancellation?
    ) throws -> ProcessResult {
        try runner.run(
            reduced(command), input: input, outputLimit: outputLimit, deadline: deadline, cancellation: cancellation)
    }

    package func start(
        _ command: ProcessCommand, pipesInput: Bool, pipesOutput: Bool
    ) throws -> any RunningProcess {
        try runner.start(reduced(command), pipesInput: pipesInput, pipesOutput: pipesOutput)
    }

    package func start(
        _ command: ProcessCommand, pipesInput: Bool, pipesOutput: Bool, cancellation: Cancellation?
    ) throws -> any RunningProcess {
        try runner.start(
            reduced(command), pipesInput: pipesInput, pipesOutput: pipesOutput, cancellation: cancellation)
    }
}
