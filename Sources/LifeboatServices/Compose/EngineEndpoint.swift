// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
package import LifeboatCore
package import LifeboatHTTP
package import LifeboatIO

/// Finds the engine that `docker` would talk to.
package enum EngineEndpoint {
    /// In docker's own order: `DOCKER_HOST`, the context, the default socket; then the socket of a rootless engine. Asks
    /// the API directly where it can.
    package static func engine(
        environment: [String: String], runner: any ProcessRunner, client: HTTPClient = HTTPClient(),
        clock: any Clock = SystemClock()
    ) throws -> any ContainerEngine {
        if let host = environment["DOCKER_HOST"], !host.isEmpty {
            let usesTLS = environment["DOCKER_TLS_VERIFY"].map { !$0.isEmpty } ?? false
            if !usesTLS, let address = address(of: host) { return EngineAPI(address, client: client, clock: clock) }
            // The journal's commands run elsewhere: they must not need the variable.
            return EngineCommandLine(
                docker: ["docker", "-H", host], runner: runner, environment: environment, clock: clock)
        }
        if let context = try context(environment) {
            let docker = ["docker", "--context", context]
            let result = try runner.run(
                ProcessCommand(
                    "docker", ["context", "inspect", context, "--format", "{{.Endpoints.docker.Host}}"],
                    environment: InheritedEnvironment.containerEngine.filtered(environment),
                    inherits: .containerEngine), deadline: 30)
            guard result.termination.succeeded else {
                throw ServiceCommandRun.failure(["docker", "context", "inspect", context], result)
                    .wrapped("cannot find the container engine of context '\(context)'")
            }
            let host = String(decoding: result.standardOutput, as: UTF8.self).split(separator: "\n").first ?? ""
            if let address = address(of: String(host)), case .socket = address {
                return EngineAPI(address, client: client, clock: clock)
            }
            return EngineCommandLine(docker: docker, runner: runner, environment: environment, clock: clock)
        }
        var socket = EngineAPI.defaultSocket
        if access(socket, F_OK) != 0, let folder = environment["XDG_RUNTIME_DIR"], !folder.isEmpty,
            access("\(folder)/docker.sock", F_OK) == 0
        {
            socket = "\(folder)/docker.sock"
        }
        return EngineAPI(.socket(socket), client: client, clock: clock)
    }

    /// Nil: only `docker` itself can go there.
    static func address(of host: String) -> EngineAPI.Address? {
        if host.hasPrefix("unix://") {
            let path = String(host.dropFirst(7))
            return path.hasPrefix("/") ? .socket(path) : nil
        }
        guard host.hasPrefix("tcp://") else { return nil }
        let name = host.dropFirst(6).prefix { $0 != "/" }
        return name.isEmpty ? nil : .tcp(String(name))
    }

    /// The context that is not the default one, of `DOCKER_CONTEXT` or docker's configuration.
    private static func context(_ environment: [String: String]) throws -> String? {
        if let named = environment["DOCKER_CONTEXT"], !named.isEmpty { return named == "default" ? nil : named }
        struct Configuration: Decodable { var currentContext: String? }
        let folder: String
        if let given = environment["DOCKER_CONFIG"], !given.isEmpty {
            folder = given
        } else if let home = environment["HOME"], !home.isEmpty {
            folder = "\(home)/.docker"
        } else {
            return nil
        }
        let path = "\(folder)/config.json"
        guard let bytes = try SmallFile.contents(path) else { return nil }
        do {
            let named = try JSONDecoder().decode(Configuration.self, from: Data(bytes)).currentContext
            return named == "default" || named == "" ? nil : named
        } catch {
            throw LifeboatError("'\(path)' is not what docker writes", hint: "Correct it, or set DOCKER_HOST.")
        }
    }
}
