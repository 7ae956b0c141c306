// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// The variables that Compose gets: its files are filled in from the environment, so it needs more than other programs.
package enum ComposeVariables {
    /// The names Compose looks for in a project directory, and those of the files it merges with them.
    private static let usualNames = [
        "compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml", "compose.override.yaml",
        "compose.override.yml", "docker-compose.override.yaml", "docker-compose.override.yml", ".env",
    ]

    /// `environment` without those of `secrets` that no file of the project names. Where a file cannot be read, or takes
    /// in other files (`include`, `extends`), Compose gets everything: a variable that is missing would silently become
    /// an empty one in a container.
    package static func environment(
        _ environment: [String: String], without secrets: Set<String>, for project: ComposeProject
    ) -> [String: String] {
        guard !secrets.isEmpty, let texts = texts(of: project) else { return environment }
        let named = texts.reduce(into: Set<Substring>()) { $0.formUnion(words($1)) }
        if named.contains("include") || named.contains("extends") { return environment }
        return environment.filter { !secrets.contains($0.key) || named.contains(Substring($0.key)) }
    }

    /// Every file that Compose reads by itself; nil when one that is named cannot be read.
    private static func texts(of project: ComposeProject) -> [String]? {
        var paths = project.files + project.environmentFiles
        let folder =
            project.directory ?? project.files.first.map { String($0[..<($0.lastIndex(of: "/") ?? $0.startIndex)]) }
        if let folder {
            paths += usualNames.map { "\(folder)/\($0)" }.filter { access($0, F_OK) == 0 }
        }
        var texts: [String] = []
        var known = Set(paths)
        let own = paths.count
        var position = 0
        while position < paths.count {
            let path = paths[position]
            position += 1
            guard let bytes = try? SmallFile.contents(path, limit: 4 << 20) else {
                // What is only mentioned may be anything.
                if position <= own { return nil } else { continue }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            texts.append(text)
            // A file that the project's files name, such as an env_file, is filled in too.
            guard let folder, project.files.contains(path) || usualNames.contains(where: { path == "\(folder)/\($0)" })
            else { continue }
            for word in text.split(whereSeparator: { $0.isWhitespace || "\"',:[]{}".contains($0) }) {
                let named = word.hasPrefix("/") ? String(word) : "\(folder)/\(word)"
                guard known.insert(named).inserted, isRegularFile(named) else { continue }
                paths.append(named)
            }
        }
        return texts
    }

    private static func isRegularFile(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    /// Whatever can be the name of a variable.
    private static func words(_ text: String) -> [Substring] {
        text.split { !($0.isASCII && ($0.isLetter || $0.isNumber) || $0 == "_") }
    }
}
