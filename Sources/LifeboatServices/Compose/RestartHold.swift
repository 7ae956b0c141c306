// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import LifeboatCore
import LifeboatIO

/// What lifeboat took from the containers of a project while they are stopped: their restart policies, and which of a
/// service's containers ran. On disk before anything is changed, so that a later process can put it back.
struct RestartHold: Sendable {
    struct Entry: Codable, Sendable, Equatable {
        var id: String
        var name: String
        var service: String
        /// The container's own policy.
        var restart: EngineContainer.RestartPolicy
    }

    private struct Record: Codable {
        var project: String
        var containers: [Entry]
    }

    private let path: String
    private let project: String

    /// Below lifeboat's state folder.
    init(stateFolder: String, project: String) {
        path = "\(stateFolder)/compose/\(project).json"
        self.project = project
    }

    /// Empty when nothing is held.
    func entries() throws -> [Entry] {
        guard let bytes = try SmallFile.contents(path) else { return [] }
        do {
            return try JSONDecoder().decode(Record.self, from: Data(bytes)).containers
        } catch {
            throw LifeboatError(
                "'\(path)' is not what lifeboat wrote",
                hint: "It holds the restart policies of stopped containers: check them, then remove that file.")
        }
    }

    /// Replaces what is held; without entries the file goes. Durable when it returns.
    func write(_ entries: [Entry]) throws {
        if entries.isEmpty {
            guard unlink(path) == 0 else {
                if errno == ENOENT { return }
                throw SystemCallError("remove", path)
            }
            try AtomicFile.synchronizeFolder(of: path)
            return
        }
        let folder = String(path.prefix(upTo: path.lastIndex(of: "/") ?? path.startIndex))
        try FileTree.createFolders(folder)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let text = String(
            decoding: try encoder.encode(Record(project: project, containers: entries)), as: UTF8.self)
        try AtomicFile.write(text + "\n", to: path)
        try AtomicFile.synchronizeFolder(of: folder)
    }
}
