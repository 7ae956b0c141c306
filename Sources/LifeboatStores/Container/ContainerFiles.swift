// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

extension ContainerAddress {
    /// What takes so many bytes in the first of `folders`, as they are named in the container, that lies on a mount this
    /// host can look at; nil: none does, or there is no such container.
    func room(_ needed: UInt64, in folders: [String]) throws -> StagingRoom? {
        guard try container.found(runner, running: false) != nil else { return nil }
        for folder in folders {
            guard let path = try container.hostPath(folder, runner) else { continue }
            return try StagingRoom.inside(path, needed: needed)
        }
        return nil
    }
}

/// The files a server in a container works on.
extension ServerContainer {
    /// The folder on this host that is `path` in the container, whether it runs or not; nil: `path` is on no mount.
    /// Blocking.
    func hostPath(_ path: String, _ runner: any ProcessRunner) throws -> String? {
        guard let id = try found(runner, running: false) else {
            throw LifeboatError(
                "there is no container of \(self)",
                hint: "Create it (docker compose create), or correct the component in the policy.")
        }
        let format = "{{range .Mounts}}{{println .Destination}}{{println .Source}}{{end}}"
        let lines = try ask(["container", "inspect", "--format", format, id], runner).split(separator: "\n")
            .map(String.init)
        var best: (destination: String, source: String)?
        for index in stride(from: 0, to: lines.count - 1, by: 2) {
            let (destination, source) = (lines[index], lines[index + 1])
            let isAbove = path == destination || path.hasPrefix(destination == "/" ? "/" : destination + "/")
            if isAbove, destination.utf8.count >= best?.destination.utf8.count ?? 0 { best = (destination, source) }
        }
        return best.map { $0.source + path.dropFirst($0.destination.count) }
    }

    /// The content of a file in the container, which runs.
    func open(_ path: String, _ runner: any ProcessRunner, cancellation: Cancellation) throws -> any ByteSource {
        let process = try runner.start(
            ProcessCommand(
                engine, ["exec", try identifier(runner), "cat", path], inherits: .containerEngine), pipesInput: false,
            pipesOutput: true, cancellation: cancellation)
        return ProgramSource(process, program: engine, "cannot read '\(path)' in \(self)")
    }
}
