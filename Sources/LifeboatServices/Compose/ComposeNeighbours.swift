// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatIO

extension ComposeServices {
    /// What keeps folders in use though the services of this project are stopped: containers of other projects, and
    /// services of this one that the policy does not name. A folder that is exchanged under a running container stays
    /// the old one for it. Empty: there is none. Blocking; containers that Compose did not make are not known.
    package func neighbours(using folders: [String], _ cancellation: Cancellation?) throws -> [LifeboatError] {
        let ours = try view(patience: deadlines.engine, cancellation)
        let stopped = Set(ours.containers.map(\.id))
        return try engine.containers(of: nil, patience: deadlines.engine, cancellation)
            .filter { $0.isUp && !stopped.contains($0.id) }
            .sorted { $0.name < $1.name }
            .flatMap { container in
                folders.filter { folder in
                    container.mounts.contains { $0.isWritable && Self.overlap($0.source, folder) }
                }.map { folder in
                    LifeboatError(
                        "container '\(container.name)' uses '\(folder)', and is not stopped for the restore",
                        causes: [
                            container.project == ours.name
                                ? "service '\(container.service)' is not among services.compose.services"
                                : "it belongs to project '\(container.project)', not to '\(ours.name)'"
                        ], hint: "Stop it, then start the restore again.")
                }
            }
    }

    /// The services that use these directories, or what these servers hold, in start order: those that mount a path of
    /// it, and those that depend on a server, with the servers themselves. Nil when that cannot be told: nobody mounts
    /// one of the directories, or nothing depends on one of the servers. Blocking.
    package func users(
        of folders: [String], servers: Set<String>, _ cancellation: Cancellation?
    ) throws -> [String]? {
        let view = try view(patience: deadlines.engine, cancellation)
        let model = known.withLock { (known: inout Known) in known.model }
        var users = servers
        for folder in folders {
            let mounting = view.containers.filter { container in
                container.mounts.contains { Self.isSame($0.source, folder) }
            }
            // A service whose container is gone says in the files what it mounts.
            let declared = view.graph.order.filter { service in
                view.containers(of: service).isEmpty && model?.mounts(folder, in: service) == true
            }
            guard !mounting.isEmpty || !declared.isEmpty else { return nil }
            users.formUnion(mounting.map(\.service) + declared)
        }
        for server in servers {
            let dependents = Self.dependents(of: server, view.dependencies)
            guard !dependents.isEmpty else { return nil }
            users.formUnion(dependents)
        }
        return view.graph.order.filter(users.contains)
    }

    /// The services that need `service`, themselves or through others.
    private static func dependents(
        of service: String, _ dependencies: [String: [String: EngineContainer.Condition]]
    ) -> Set<String> {
        var found: Set<String> = []
        var waiting = [service]
        while let next = waiting.popLast() {
            for (name, needs) in dependencies where needs[next] != nil && found.insert(name).inserted {
                waiting.append(name)
            }
        }
        return found
    }

    /// Whether two paths overlap, also through links.
    static func isSame(_ left: String, _ right: String) -> Bool {
        overlap(left, right) || overlap(resolved(left), resolved(right))
    }

    /// The path with its links resolved; as it is when that is not possible.
    private static func resolved(_ path: String) -> String {
        guard let real = realpath(path, nil) else { return path }
        defer { free(real) }
        return String(cString: real)
    }

    /// Whether one is inside the other, or both are the same.
    static func overlap(_ left: String, _ right: String) -> Bool {
        func closed(_ path: String) -> String { path.hasSuffix("/") ? path : "\(path)/" }
        return closed(left).hasPrefix(closed(right)) || closed(right).hasPrefix(closed(left))
    }
}
