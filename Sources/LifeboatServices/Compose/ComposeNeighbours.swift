// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

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

    /// Whether one is inside the other, or both are the same.
    static func overlap(_ left: String, _ right: String) -> Bool {
        func closed(_ path: String) -> String { path.hasSuffix("/") ? path : "\(path)/" }
        return closed(left).hasPrefix(closed(right)) || closed(right).hasPrefix(closed(left))
    }
}
