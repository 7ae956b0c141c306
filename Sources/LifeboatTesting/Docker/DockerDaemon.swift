// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// A real Docker engine of the tests' own: in a network namespace of its own, with all its data in a temporary folder, so
/// that neither the host's engine nor its firewall rules are touched. Needs root.
package final class DockerDaemon: Sendable {
    package static let shouldRun =
        geteuid() == 0 && (access("/usr/sbin/dockerd", X_OK) == 0 || access("/usr/bin/dockerd", X_OK) == 0)
    package static let skipReason = "needs root and a Docker engine (scripts/setup)"

    /// A command line for this engine that writes its arguments and environment to `log` before each call.
    package let client: String
    package let log: String
    package let folder: String
    /// What a program is started with to be in the network of the containers: it reaches their addresses and published
    /// ports. Empty: they have none.
    package let networkWords: [String]
    private let temporary: TemporaryFolder
    private let runner = SystemProcessRunner(grace: 10)
    private let process = Monitor<(any RunningProcess)?>(nil)

    /// `networked`: containers have networks, which end where the namespace ends.
    package init(networked: Bool = false) throws {
        // Short: a unix socket's path has 107 bytes at most.
        temporary = try TemporaryFolder(prefix: "lbdk-", in: "/tmp")
        folder = temporary.path
        client = "\(folder)/docker"
        log = "\(folder)/calls"
        networkWords = networked ? ["nsenter", "--net=\(folder)/net"] : []
        // Containers of the unprivileged user share folders in it.
        guard chmod(folder, 0o755) == 0 else { throw SystemCallError("open up", folder) }
        let real = access("/usr/bin/docker", X_OK) == 0 ? "/usr/bin/docker" : "docker"
        let script = """
            #!/bin/sh
            { printf '%s\\n' "$@"; env; } >>'\(log)'
            exec \(real) -H unix://\(folder)/s.sock "$@"

            """
        let descriptor = try OwnedDescriptor.open(client, O_WRONLY | O_CREAT, mode: 0o755)
        try Array(script.utf8).withUnsafeBytes { try DescriptorIO.write(descriptor.raw, $0, client) }
        try descriptor.close(client)
        if networked {
            // It stays, as a mount, when the engine is started again.
            try AtomicFile.write("", to: "\(folder)/net")
            try run(ProcessCommand("unshare", ["--net=\(folder)/net", "ip", "link", "set", "lo", "up"]))
        }
        try launch()
    }

    /// Path of its socket.
    package var socket: String { "\(folder)/s.sock" }

    private func launch() throws {
        let isolation = networkWords.isEmpty ? ["unshare", "--net"] : networkWords
        let network =
            networkWords.isEmpty
            ? "--bridge=none --iptables=false --ip6tables=false --ip-forward=false" : "--bip=10.231.0.1/24"
        let command = """
            exec dockerd \(network) --data-root=\(folder)/data --exec-root=\(folder)/exec --host=unix://\(socket) \
            --pidfile=\(folder)/pid >>\(folder)/log 2>&1
            """
        let daemon = try runner.start(
            ProcessCommand(isolation[0], isolation.dropFirst() + ["sh", "-c", command]), pipesInput: false,
            pipesOutput: false)
        process.withLock { $0 = daemon }
        do {
            // Generous: the machine may be busy.
            for _ in 0..<600 {
                let answer = try runner.run(ProcessCommand(client, ["info"]), deadline: 60)
                if answer.termination.succeeded { return }
                usleep(100_000)
            }
            throw LifeboatError("the Docker engine of the tests does not answer", causes: ["see \(folder)/log"])
        } catch {
            remove()
            throw error
        }
    }

    /// Ends the engine, which stops all containers, and starts it again over the same data. Not for the shared one.
    package func restart(whileAway: () throws -> Void = {}) throws {
        process.withLock { slot -> (any RunningProcess)? in
            defer { slot = nil }
            return slot
        }?.terminate(grace: 30)
        try whileAway()
        try launch()
    }

    private static let sharedSlot = Monitor<DockerDaemon?>(nil)

    /// One engine for all tests of the process.
    package static func shared() throws -> DockerDaemon {
        try sharedSlot.withLock { slot in
            if let slot { return slot }
            let daemon = try DockerDaemon()
            atExit { daemon.remove() }
            slot = daemon
            return daemon
        }
    }

    /// Runs a command of the client and gives what it printed.
    @discardableResult
    package func docker(_ arguments: String...) throws -> String {
        try run(ProcessCommand(client, arguments))
    }

    @discardableResult
    private func run(_ command: ProcessCommand) throws -> String {
        let result = try runner.run(command, deadline: 120)
        guard result.termination.succeeded else {
            throw LifeboatError(
                "'\(command.executable) \(command.arguments.first ?? "")' failed: \(result.termination)",
                causes: ProcessResult.lastLines(of: result.standardError))
        }
        return result.trimmed
    }

    /// Makes an image that holds next to nothing: its programs are this host's, put into each container with
    /// `--volume /usr:/usr:ro`. No registry is asked, and nothing is copied.
    package func makeHostImage(_ name: String, path: String) throws {
        let script = """
            set -e; root=$(mktemp -d "$PWD/root-XXXXXX"); cd "$root"; mkdir -p dev etc proc run sys tmp usr var/run; chmod 1777 tmp
            for link in bin lib lib64 sbin; do ln -s usr/$link $link; done
            printf 'root:x:0:0:root:/:/bin/sh\\nservice:x:999:999::/tmp:/bin/sh\\n' >etc/passwd
            printf 'root:x:0:\\nservice:x:999:\\n' >etc/group
            tar -c . | "$1" import --change "ENV PATH=$2" --change 'ENV LC_ALL=C.UTF-8' - "$3"; rm -rf "$root"
            """
        try run(
            ProcessCommand("sh", ["-c", script, "sh", client, path, name], workingDirectory: folder))
    }

    /// Ends the engine with all its containers and removes everything.
    package func remove() {
        let daemon = process.withLock { slot -> (any RunningProcess)? in
            defer { slot = nil }
            return slot
        }
        guard let daemon else { return }
        _ = try? run(ProcessCommand("sh", ["-c", "\"$1\" ps -q | xargs -r \"$1\" rm -f", "sh", client]))
        daemon.terminate(grace: 30)
        // The namespace of containers without a network stays mounted.
        _ = try? run(ProcessCommand("sh", ["-c", "umount \(folder)/exec/netns/* \(folder)/net 2>/dev/null; true"]))
        try? temporary.remove()
    }
}
