// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatHTTP
import LifeboatIO
import LifeboatStores

/// A Redis or Valkey of its own, reached by a unix socket only.
final class RedisEngine: ThrowawayEngine {
    /// Holds the socket and the data folder.
    let folder: String
    private let program: String
    private let runner: any ProcessRunner
    private let process: EngineProcess
    private let databases: Int

    var data: String { "\(folder)/data" }
    var socket: String { "\(folder)/socket" }
    let subject: String

    /// `captured`: what the snapshot's engine was (`7.0.15`, `valkey 9.1.2`).
    init(captured: String, databases: Int, folder: String, _ programs: EnginePrograms, _ clock: any Clock) throws {
        let isValkey = captured.hasPrefix("valkey")
        let names = isValkey ? ["valkey-server"] : ["redis-server", "valkey-server"]
        guard let program = names.lazy.compactMap({ programs.find($0) }).first else {
            throw LifeboatError(
                "this host has no \(isValkey ? "Valkey" : "Redis") for the sandbox",
                causes: ["the snapshot is of \(isValkey ? captured : "redis \(captured)")"],
                hint: "Install the package \(names[0]), drill in the stack's own containers with --sandbox compose,"
                    + " or leave the component out with --component.")
        }
        self.program = program
        self.folder = folder
        self.databases = max(16, databases)
        runner = programs.runner
        let flavor = program.hasSuffix("valkey-server") ? "Valkey" : "Redis"
        subject = try flavor + (programs.version(program).map { " \($0)" } ?? "")
        process = EngineProcess(flavor, programs.runner, clock)
    }

    func prepare(_ cancellation: Cancellation) throws {
        try FileTree.createFolders(folder)
        try FileTree.createFolders(data, mode: 0o750)
    }

    func start() throws {
        let arguments = [
            "--port", "0", "--unixsocket", socket, "--dir", data, "--save", "", "--appendonly", "no", "--daemonize",
            "no", "--databases", "\(databases)",
        ]
        try process.start(ProcessCommand(program, arguments, workingDirectory: data))
    }

    var endpoint: RedisEndpoint {
        RedisEndpoint(RawAddress(host: "localhost", port: 6379, unixSocket: socket))
    }

    func awaitReady(_ cancellation: Cancellation) throws {
        try process.await(cancellation) {
            let info = try RedisConnection(endpoint, cancellation: cancellation).info()
            guard info.number("loading") == 0 else { throw LifeboatError("it is still loading its data") }
        }
    }

    func stop() throws { try process.stop() }

    func letGo() { process.letGo() }
}
