// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
package import LifeboatServices

/// A real systemd in a container of a Docker engine of the tests' own, with a few units, reached through a `systemctl`
/// that goes in there. Freezing needs cgroup v2, which an engine in a test may not have: there `systemctl freeze` and
/// `thaw` are played with SIGSTOP and SIGCONT, and the state they leave is put into what `systemctl show` prints.
package final class SystemdFixture: ServiceFixture {
    package let services = ["api.socket", "db.service", "api.service", "clean.timer"]
    package let manager: any ServiceManager
    private let daemon: DockerDaemon
    private let name = "systemd-\(UInt32.random(in: 0...UInt32.max))"
    private let temporary: TemporaryFolder
    private let runner = SystemProcessRunner(grace: 5)

    package var folder: String { temporary.path }

    private static let units = [
        "db.service": """
        [Service]
        ExecStart=/bin/sh /state/serve db.service
        TimeoutStopSec=1
        Restart=always
        """,
        // Requires: systemd stops it together with the database, and does not start it again.
        "api.service": """
        [Unit]
        Requires=db.service
        After=db.service
        [Service]
        ExecStart=/bin/sh /state/serve api.service
        TimeoutStopSec=1
        """,
        "api.socket": """
        [Socket]
        ListenStream=/run/api.sock
        """,
        "clean.timer": """
        [Timer]
        OnActiveSec=1h
        Unit=db.service
        """,
        "ready.target": """
        [Unit]
        DefaultDependencies=no
        Requires=sysinit.target
        """,
    ]

    private static let serve = """
        trap 'test -e /state/stubborn-'$1' || { echo "stop '$1'" >>/state/log; exit 0; }' TERM
        echo "start $1" >>/state/log
        while :; do sleep 1000 & wait $!; done

        """

    /// Starts it with all units up.
    package init(_ daemon: DockerDaemon, units: [String] = ["db", "api.service"]) throws {
        self.daemon = daemon
        temporary = try TemporaryFolder(prefix: "s", in: daemon.folder)
        let folder = temporary.path
        try daemon.makeHostImage("\(name):test", path: "/bin")
        for place in ["units", "state", "bin"] { try FileTree.createFolders("\(folder)/\(place)") }
        for (name, text) in Self.units { try AtomicFile.write(text + "\n", to: "\(folder)/units/\(name)") }
        try AtomicFile.write(Self.serve, to: "\(folder)/state/serve")
        let script = Self.systemctl(folder: folder, docker: daemon.client, container: name)
        try AtomicFile.write(script, to: "\(folder)/bin/systemctl", mode: 0o755)
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
        manager = SystemdServices(
            units: units, runner: runner, environment: ["PATH": "\(folder)/bin:\(path)"])
        do {
            try daemon.docker(
                "run", "--detach", "--name", name, "--network", "none", "--cap-add", "SYS_ADMIN", "--security-opt",
                "seccomp=unconfined", "--tmpfs", "/run", "--tmpfs", "/run/lock", "--cgroupns=host", "--env",
                "container=docker", "--volume", "/usr:/usr:ro", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:ro",
                "--volume", "\(folder)/units:/etc/systemd/system", "--volume", "\(folder)/state:/state",
                "\(name):test", "/usr/lib/systemd/systemd", "--unit=ready.target")
            try waitForManager()
            try inside(["systemctl", "start"] + services)
        } catch {
            remove()
            throw error
        }
    }

    private func waitForManager() throws {
        for _ in 0..<600 {
            let state = try runner.run(
                ProcessCommand(daemon.client, ["exec", name, "systemctl", "is-active", "ready.target"]), deadline: 60)
            if state.termination.succeeded { return }
            usleep(100_000)
        }
        throw LifeboatError("systemd in container '\(name)' does not come up")
    }

    private static func systemctl(folder: String, docker: String, container: String) -> String {
        """
        #!/bin/sh
        frozen='\(folder)'/frozen-
        inside() { '\(docker)' exec '\(container)' systemctl "$@"; }
        case $1 in
        freeze) inside kill --signal=STOP "$2" && : >"$frozen$2" ;;
        thaw) inside kill --signal=CONT "$2" && rm -f "$frozen$2" ;;
        show)
            if [ "$2" = --property=FreezerState ]; then
                if [ -e "$frozen$5" ]; then echo frozen; else echo running; fi
                exit
            fi
            inside "$@" | while IFS= read -r line; do
                case $line in
                Id=*) id=${line#Id=} ;;
                FreezerState=*) [ ! -e "$frozen$id" ] || line=FreezerState=frozen ;;
                CanFreeze=*) line=CanFreeze=yes ;;
                esac
                printf '%s\\n' "$line"
            done ;;
        *) inside "$@" ;;
        esac

        """
    }

    @discardableResult
    package func inside(_ words: [String]) throws -> String {
        let result = try runner.run(ProcessCommand(daemon.client, ["exec", name] + words), deadline: 60)
        guard result.termination.succeeded else {
            throw LifeboatError(
                "'\(words.joined(separator: " "))' failed: \(result.termination)",
                causes: ProcessResult.lastLines(of: result.standardError))
        }
        return result.trimmed
    }

    /// What the services wrote down, oldest first.
    package func log() throws -> [String] {
        let bytes = try SmallFile.contents("\(folder)/state/log") ?? []
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    package func clearLog() throws { try AtomicFile.write("", to: "\(folder)/state/log") }

    // MARK: ServiceFixture

    package func observed() throws -> [String] {
        let states = try inside(["sh", "-c", "systemctl is-active \"$@\"; true", "sh"] + services).split(
            separator: "\n")
        return zip(services, states).filter { $0.1 == "active" }.map(\.0)
    }

    package func observedPaused() throws -> [String] {
        services.filter { access("\(folder)/frozen-\($0)", F_OK) == 0 }
    }

    package func setOutside(_ service: String, running: Bool) throws {
        try inside(["systemctl", running ? "start" : "stop", service])
    }

    package func makeStubborn(_ service: String) throws {
        // A socket cannot be: the database it is.
        try AtomicFile.write("", to: "\(folder)/state/stubborn-db.service")
    }

    package func run(_ command: ServiceCommand) throws {
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
        let result = try runner.run(
            ProcessCommand(
                command.words[0], Array(command.words.dropFirst()), environment: ["PATH": "\(folder)/bin:\(path)"]),
            deadline: 60)
        guard result.termination.succeeded else {
            throw LifeboatError(
                "'\(command.words)' failed", causes: ProcessResult.lastLines(of: result.standardError))
        }
    }

    package func reset() throws {
        unlink("\(folder)/state/stubborn-db.service")
        for name in try observedPaused() {
            try inside(["systemctl", "kill", "--signal=CONT", name])
            unlink("\(folder)/frozen-\(name)")
        }
        // A socket whose service runs cannot be started.
        if try observed() != services {
            try inside(["systemctl", "stop"] + services)
            try inside(["systemctl", "start"] + services)
        }
    }

    package func remove() {
        _ = try? daemon.docker("rm", "--force", name)
        try? temporary.remove()
    }
}
