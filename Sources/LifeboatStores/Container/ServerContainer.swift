// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LifeboatCore
import LifeboatIO

/// A container with a server in it, found through the command line of its engine.
package struct ServerContainer: Sendable, Equatable, CustomStringConvertible {
    package enum Selection: Sendable, Equatable {
        /// Name or id of a container.
        case name(String)
        /// A service of Docker Compose; without a project the only one that runs a service of that name.
        case service(String, project: String?)
    }

    package var selection: Selection
    /// `docker`, or a program that understands the same words (`podman`).
    package var engine: String

    package init(_ selection: Selection, engine: String = "docker") {
        self.selection = selection
        self.engine = engine
    }

    package var description: String {
        switch selection {
        case .name(let name): "container '\(name)'"
        case .service(let service, nil): "service '\(service)'"
        case .service(let service, let project?): "service '\(service)' of project '\(project)'"
        }
    }

    /// Seconds an answer of the engine may take.
    private static let patience: Double = 60

    /// Name or id to hand to the engine, of a container that runs. Blocking.
    func identifier(_ runner: any ProcessRunner) throws -> String {
        if case .name(let name) = selection { return name }
        guard let id = try found(runner, running: true) else {
            throw LifeboatError(
                "no container of \(self) runs", hint: "Start it, or correct 'service' of the component in the policy.")
        }
        return id
    }

    /// Its id; nil: there is none, or with `running` none that runs. One that was removed is no error here: `inspect`
    /// would not tell it from an engine that is down. Blocking.
    func found(_ runner: any ProcessRunner, running: Bool) throws -> String? {
        var arguments = ["ps", "--no-trunc"]
        if !running { arguments.append("--all") }
        switch selection {
        case .name(let name): arguments += ["--filter", "name=^/?\(name)$"]
        case .service(let service, let project):
            arguments += ["--filter", "label=com.docker.compose.service=\(service)"]
            if let project { arguments += ["--filter", "label=com.docker.compose.project=\(project)"] }
            // Containers of `docker compose run` are no servers.
            arguments += ["--filter", "label=com.docker.compose.oneoff=False"]
        }
        arguments += ["--format", "{{.ID}} {{.Label \"com.docker.compose.project\"}}"]
        let lines = try ask(arguments, runner).split(separator: "\n")
        guard let line = lines.first, let id = line.split(separator: " ").first else { return nil }
        guard lines.count == 1 else {
            throw LifeboatError(
                "\(lines.count) containers of \(self) \(running ? "run" : "exist")",
                causes: lines.map { "project \($0.split(separator: " ").dropFirst().joined(separator: " "))" },
                hint: "Name one of them with 'container' in the policy, or its project with 'project'.")
        }
        return String(id)
    }

    /// Where this host reaches the server: the published port, else the container's own address.
    func address(serverPort: UInt16, _ runner: any ProcessRunner) throws -> (host: String, port: UInt16) {
        try address(of: try identifier(runner), serverPort: serverPort, runner)
    }

    /// The same for the container of that name or id.
    func address(
        of container: String, serverPort: UInt16, _ runner: any ProcessRunner
    ) throws -> (host: String, port: UInt16) {
        let text = try ask(["inspect", "--type=container", container], runner)
        let found: (host: String, port: UInt16)?
        do {
            found = try Inspection.address(in: text, serverPort: serverPort)
        } catch {
            throw LifeboatError("'\(engine) inspect' says of \(self) what cannot be read", causes: ["\(error)"])
        }
        guard let found else {
            throw LifeboatError(
                "\(self) has no address that this host can reach",
                hint: "Publish its port \(serverPort), and name 'host' and 'port' of the component in the policy.")
        }
        return found
    }

    /// What the engine's program prints.
    func ask(_ arguments: [String], _ runner: any ProcessRunner) throws -> String {
        let result = try runner.run(
            ProcessCommand(engine, arguments, inherits: .containerEngine), deadline: Self.patience)
        guard result.termination.succeeded else {
            throw LifeboatError(
                "'\(engine)' cannot find \(self)",
                causes: ["\(engine) \(arguments[0]): \(result.termination)"]
                    + ProcessResult.lastLines(of: result.standardError),
                hint: "Check that \(self) runs and that this user may use \(engine).")
        }
        return String(decoding: result.standardOutput, as: UTF8.self)
    }

    /// What of `docker inspect` tells where a container is. Keys as the Engine API names them.
    package struct Inspection: Decodable {
        struct Port: Decodable {
            var host: String?
            var port: String?
            enum CodingKeys: String, CodingKey {
                case host = "HostIp"
                case port = "HostPort"
            }
        }
        struct Network: Decodable {
            var address: String?
            enum CodingKeys: String, CodingKey { case address = "IPAddress" }
        }
        struct Settings: Decodable {
            var ports: [String: [Port]?]?
            var networks: [String: Network]?
            enum CodingKeys: String, CodingKey {
                case ports = "Ports"
                case networks = "Networks"
            }
        }
        struct Host: Decodable {
            var networkMode: String?
            enum CodingKeys: String, CodingKey { case networkMode = "NetworkMode" }
        }
        var settings: Settings
        var host: Host?
        enum CodingKeys: String, CodingKey {
            case settings = "NetworkSettings"
            case host = "HostConfig"
        }

        /// Of the first container in what `inspect` printed; nil when nothing of this host can reach it.
        package static func address(in text: String, serverPort: UInt16) throws -> (host: String, port: UInt16)? {
            try JSONDecoder().decode([Inspection].self, from: Data(text.utf8)).first?.address(serverPort: serverPort)
        }

        private func address(serverPort: UInt16) -> (host: String, port: UInt16)? {
            let published = (settings.ports ?? [:])["\(serverPort)/tcp"] ?? nil
            for entry in published ?? [] {
                guard let text = entry.port, let port = UInt16(text) else { continue }
                // Published on all addresses: the loopback is one of them.
                let host = entry.host ?? ""
                return (["", "0.0.0.0", "::"].contains(host) ? "127.0.0.1" : host, port)
            }
            if host?.networkMode == "host" { return ("127.0.0.1", serverPort) }
            let networks = (settings.networks ?? [:]).sorted { $0.key < $1.key }
            guard let own = networks.compactMap(\.value.address).first(where: { !$0.isEmpty }) else { return nil }
            return (own, serverPort)
        }
    }
}
