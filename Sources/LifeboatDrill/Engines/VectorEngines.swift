// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatHTTP
import LifeboatIO

/// A server of vectors of its own, on a free port of 127.0.0.1.
final class VectorEngine: ThrowawayEngine {
    enum Kind: String {
        case chroma = "Chroma"
        case qdrant = "Qdrant"

        var program: String { rawValue.lowercased() }
        var readyPath: String { self == .chroma ? "/api/v2/heartbeat" : "/readyz" }
    }

    let kind: Kind
    let port: UInt16
    /// The server's data folder.
    let data: String
    /// Holds what else it writes.
    let folder: String
    let subject: String
    private let program: String
    private let process: EngineProcess

    var address: String { "127.0.0.1:\(port)" }
    var url: String { "http://\(address)" }

    /// Nil when its program is not on this host.
    init?(
        _ kind: Kind, data: String? = nil, folder: String, _ programs: EnginePrograms, _ clock: any Clock
    ) throws {
        guard let program = programs.find(kind.program) else { return nil }
        self.kind = kind
        self.program = program
        self.folder = folder
        self.data = data ?? "\(folder)/data"
        port = try FileAccess.freePort()
        subject = try kind.rawValue + (programs.version(program).map { " \($0)" } ?? "")
        process = EngineProcess(kind.rawValue, programs.runner, clock)
    }

    static func missing(_ kind: Kind) -> LifeboatError {
        LifeboatError(
            "this host has no \(kind.rawValue) for the sandbox",
            causes: ["there is no program '\(kind.program)' on the PATH"],
            hint: "Install it, drill in the stack's own containers with --sandbox compose, or leave the"
                + " component out with --component.")
    }

    func prepare(_ cancellation: Cancellation) throws {
        try FileTree.createFolders(folder)
        try FileTree.createFolders(data)
    }

    func start() throws {
        var command: ProcessCommand
        switch kind {
        case .chroma:
            command = ProcessCommand(
                program, ["run", "--path", data, "--host", "127.0.0.1", "--port", "\(port)"],
                environment: ["ANONYMIZED_TELEMETRY": "False"])
        case .qdrant:
            command = ProcessCommand(
                program,
                environment: [
                    "QDRANT__SERVICE__HOST": "127.0.0.1", "QDRANT__SERVICE__HTTP_PORT": "\(port)",
                    "QDRANT__SERVICE__GRPC_PORT": "\(try FileAccess.freePort())",
                    "QDRANT__STORAGE__STORAGE_PATH": data,
                    "QDRANT__STORAGE__SNAPSHOTS_PATH": "\(folder)/snapshots", "QDRANT__TELEMETRY_DISABLED": "true",
                ])
        }
        command.workingDirectory = folder
        try process.start(command)
    }

    func awaitReady(_ cancellation: Cancellation) throws {
        let request = HTTPRequest(
            .get, url + kind.readyPath, timeouts: HTTPTimeouts(connect: 5, total: 5), bodyLimit: 1 << 16)
        try process.await(cancellation) {
            let response = try HTTPClient().send(request, cancellation: cancellation)
            guard response.isSuccess else { throw LifeboatError("status \(response.status)") }
        }
    }

    func stop() throws { try process.stop() }

    func letGo() { process.letGo() }
}
