// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
package import LifeboatIO

/// The Docker container a server runs in.
package struct RedisContainer: Sendable {
    package let name: String
    /// The `docker` program.
    private let program: String
    private let runner: any ProcessRunner

    package init(name: String, program: String = "docker", runner: any ProcessRunner) {
        self.name = name
        self.program = program
        self.runner = runner
    }

    /// Its first address in a network of this host; nil: it does not run. Containers get a new one when they start: asked
    /// each time.
    func address() throws -> String? {
        // A container that was removed is no error here: `inspect` would not tell it from a daemon that is down.
        guard try !docker(["ps", "--filter", "name=^/?\(name)$", "--format", "{{.ID}}"]).isEmpty else { return nil }
        let lines = try inspect("{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{end}}")
        guard let address = lines.first else {
            throw LifeboatError(
                "container '\(name)' has no network address",
                hint: "Give 'host' and 'port' as they are reached from this host.")
        }
        return address
    }

    /// The folder on this host that is `path` in the container; nil: `path` is on no mount.
    func hostPath(_ path: String) throws -> String? {
        let lines = try inspect("{{range .Mounts}}{{println .Destination}}{{println .Source}}{{end}}")
        var best: (destination: String, source: String)?
        for index in stride(from: 0, to: lines.count - 1, by: 2) {
            let (destination, source) = (lines[index], lines[index + 1])
            let isAbove = path == destination || path.hasPrefix(destination == "/" ? "/" : destination + "/")
            if isAbove, destination.utf8.count >= best?.destination.utf8.count ?? 0 { best = (destination, source) }
        }
        return best.map { $0.source + path.dropFirst($0.destination.count) }
    }

    private func inspect(_ format: String) throws -> [String] {
        try docker(["container", "inspect", "--format", format, name])
    }

    private func docker(_ arguments: [String]) throws -> [String] {
        let result = try runner.run(ProcessCommand(program, arguments), deadline: 60)
        guard result.termination.succeeded else {
            throw LifeboatError(
                "cannot look at container '\(name)'",
                causes: ["docker: \(result.termination)"] + ProcessResult.lastLines(of: result.standardError))
        }
        return String(decoding: result.standardOutput, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    /// The content of a file in the container.
    func open(_ path: String, cancellation: Cancellation) throws -> any ByteSource {
        let process = try runner.start(
            ProcessCommand(program, ["exec", name, "cat", path]), pipesInput: false, pipesOutput: true,
            cancellation: cancellation)
        return ProgramSource(process, program: program, "cannot read '\(path)' in container '\(name)'")
    }
}
