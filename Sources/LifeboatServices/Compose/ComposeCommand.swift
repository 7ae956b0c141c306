// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LifeboatCore
package import LifeboatIO

/// Which project of Compose is meant, in the words of `docker compose`.
package struct ComposeProject: Sendable, Equatable {
    /// Absolute; merged in order. Empty: Compose looks for its own names in `directory`.
    package var files: [String]
    /// The project's name; nil: Compose's rules, then the labels of what was made from `files`.
    package var name: String?
    package var directory: String?
    package var environmentFiles: [String]
    package var profiles: [String]

    package init(
        files: [String] = [], name: String? = nil, directory: String? = nil, environmentFiles: [String] = [],
        profiles: [String] = []
    ) {
        self.files = files
        self.name = name
        self.directory = directory
        self.environmentFiles = environmentFiles
        self.profiles = profiles
    }

    /// Whether there is a file to be read at all.
    var hasModel: Bool { !files.isEmpty || directory != nil }

    /// The options before the verb.
    package func options(project: String?) -> [String] {
        var words: [String] = []
        if let project { words += ["--project-name", project] }
        for file in files { words += ["--file", file] }
        if let directory { words += ["--project-directory", directory] }
        for file in environmentFiles { words += ["--env-file", file] }
        for profile in profiles { words += ["--profile", profile] }
        return words
    }
}

/// What of Compose's resolved model is read: neither environments nor secrets.
struct ComposeModel: Decodable, Sendable, Equatable {
    struct Dependency: Decodable, Sendable, Equatable { var condition: String? }
    struct Service: Decodable, Sendable, Equatable {
        var dependsOn: [String: Dependency]?
        var volumes: [Mount]?
        private enum CodingKeys: String, CodingKey {
            case volumes
            case dependsOn = "depends_on"
        }
    }
    /// `source`: an absolute path of type `bind`, a key of `volumes` of type `volume`.
    struct Mount: Decodable, Sendable, Equatable {
        var type: String?
        var source: String?
    }
    struct Volume: Decodable, Sendable, Equatable { var name: String? }
    var name: String
    var services: [String: Service]?
    var volumes: [String: Volume?]?

    /// Whether a container of the service would see this directory: a path it binds, or the directory of a volume.
    func mounts(_ folder: String, in service: String) -> Bool {
        (services?[service]?.volumes ?? []).contains { mount in
            guard let source = mount.source else { return false }
            switch mount.type {
            case "bind": return ComposeServices.isSame(source, folder)
            case "volume":
                guard let volume = volumes?[source] else { return false }
                return "\(folder)/".contains("/volumes/\(volume?.name ?? "\(name)_\(source)")/_data/")
            default: return false
            }
        }
    }

    var dependencies: [String: [String: EngineContainer.Condition]] {
        (services ?? [:]).mapValues { service in
            (service.dependsOn ?? [:]).mapValues {
                $0.condition.flatMap(EngineContainer.Condition.init(rawValue:)) ?? .started
            }
        }
    }
}

/// The command line of Compose, version 2 or later: docker's plugin, else the program of its own.
package struct ComposeCommand: Sendable {
    private let runner: any ProcessRunner
    private let environment: [String: String]
    private let folder: String
    private let words = Monitor<[String]?>(nil)

    /// Runs in `folder`; `environment` is what variables in Compose files come from, see `ComposeVariables`.
    package init(runner: any ProcessRunner, environment: [String: String], folder: String) {
        self.runner = runner
        self.environment = environment
        self.folder = folder
    }

    /// The resolved model. Blocking, below a second; asks no engine.
    func model(_ project: ComposeProject, _ cancellation: Cancellation?) throws -> ComposeModel {
        let options = project.options(project: project.name)
        let output = try run(options + ["config", "--format", "json"], deadline: 60, project, cancellation)
        do {
            return try JSONDecoder().decode(ComposeModel.self, from: Data(output))
        } catch {
            throw LifeboatError("'docker compose config' gives a model that cannot be read")
        }
    }

    /// Makes the containers of these services that do not exist yet, and the volumes and networks they need.
    func create(
        _ services: [String], _ project: ComposeProject, name: String, _ cancellation: Cancellation?
    ) throws {
        let options = project.options(project: name)
        // Images may have to be fetched or built first: on a new host.
        _ = try run(options + ["create", "--no-recreate"] + services, deadline: 3600, project, cancellation)
    }

    /// The program that answers, once it was found: `["docker", "compose"]`.
    func program(_ cancellation: Cancellation?) throws -> [String] {
        if let known = words.withLock({ (known: inout [String]?) in known }) { return known }
        var said: [String] = []
        for candidate in [["docker", "compose"], ["docker-compose"]] {
            let arguments = Array(candidate.dropFirst()) + ["version", "--short"]
            let result: ProcessResult
            do {
                result = try runner.run(
                    ProcessCommand(
                        candidate[0], arguments,
                        environment: InheritedEnvironment.containerEngine.filtered(environment),
                        inherits: .containerEngine), deadline: 60,
                    cancellation: cancellation)
            } catch {
                let converted = LifeboatError.converting(error)
                if converted.exitCode == .interrupted { throw converted }
                said.append(converted.message)
                continue
            }
            let shown = candidate.joined(separator: " ")
            guard result.termination.succeeded else {
                said.append("'\(shown) version': \(result.termination)")
                continue
            }
            let version = String(decoding: result.standardOutput, as: UTF8.self).prefix { !$0.isNewline }
            guard Self.isSupported(String(version)) else {
                said.append("'\(shown)' is version \(version.prefix(20)), and 2 is needed")
                continue
            }
            words.withLock { (known: inout [String]?) in known = candidate }
            return candidate
        }
        throw LifeboatError(
            "there is no Docker Compose", causes: said,
            hint: "Install the Compose plugin of docker, or a docker-compose of version 2 or later.")
    }

    /// `2.29.1`, `v5.6.1`
    static func isSupported(_ version: String) -> Bool {
        let number = version.hasPrefix("v") ? version.dropFirst() : Substring(version)
        let digits = number.prefix { $0.isASCII && $0.isNumber }
        return Int(digits).map { $0 >= 2 } ?? false
    }

    private func run(
        _ words: [String], deadline: Double, _ project: ComposeProject, _ cancellation: Cancellation?
    ) throws -> [UInt8] {
        let program = try program(cancellation)
        var environment = environment
        environment["COMPOSE_ANSI"] = "never"
        environment["COMPOSE_PROGRESS"] = "quiet"
        let result = try runner.run(
            ProcessCommand(
                program[0], Array(program.dropFirst()) + words, environment: environment, inherits: .containerEngine,
                workingDirectory: project.directory ?? folder), input: [], outputLimit: 64 << 20, deadline: deadline,
            cancellation: cancellation)
        guard result.termination.succeeded else {
            // Its output is the model, secrets and all: only standard error is shown.
            throw LifeboatError(
                "'\((program + words).joined(separator: " "))' failed: \(result.termination)",
                causes: ProcessResult.lastLines(of: result.standardError).map { "it said: \($0)" })
        }
        return result.standardOutput
    }
}
