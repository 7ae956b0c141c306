// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatPolicy
import LifeboatStores

/// What lies beside a policy that is about to be written.
struct Surroundings {
    let found: StackDiscovery
    /// Name of the Compose file in the folder.
    let compose: String?

    /// `folder` without a slash at its end. Throws for a Compose file that cannot be read as one.
    init(_ folder: String, _ context: CommandContext) throws {
        compose = ComposeFileNames.usual(in: folder).first
        var services: [ComposeService] = []
        if let compose {
            let path = "\(folder)/\(compose)"
            guard let bytes = try SmallFile.contents(path), let text = String(validating: bytes, as: UTF8.self),
                let found = ComposeService.all(text)
            else {
                throw LifeboatError(
                    "'\(path)' cannot be read as a Compose file",
                    hint: "Correct it, or name what to protect with --volume FOLDER.")
            }
            services = found
        }
        found = StackDiscovery(
            services, sqliteFiles: Self.sqliteFiles(below: folder, cancellation: context.cancellation),
            variable: { name in
                let value = try? EnvironmentFile.value(of: name, in: "\(folder)/.env")
                return context.variable(name) ?? value?.reveal { $0 }
            },
            isFolder: { source in
                var status = stat()
                let path = source.hasPrefix("/") ? source : "\(folder)/\(source)"
                return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
            })
    }

    private static let sqliteMark = Array("SQLite format 3".utf8)
    private static let depth = 3
    private static let most = 20_000

    /// Paths of SQLite files below the folder, sorted; of a large tree those that are met first.
    private static func sqliteFiles(below folder: String, cancellation: Cancellation) -> [String] {
        guard let walk = try? FolderSource(folder.isEmpty ? "/" : folder).walk(cancellation) else { return [] }
        defer { walk.close() }
        var files: [String] = []
        var count = 0
        while count < most, let item = try? walk.next() {
            count += 1
            guard item.entry.kind == .file, item.entry.size >= 512,
                let path = String(validating: item.entry.path, as: UTF8.self),
                path.utf8.count(where: { $0 == 0x2F }) < depth, begins(item)
            else { continue }
            files.append("./\(path)")
        }
        return files
    }

    private static func begins(_ item: FileTreeItem) -> Bool {
        guard let file = try? item.opener?.open() else { return false }
        defer { file.close() }
        var bytes = [UInt8](repeating: 0, count: sqliteMark.count)
        let count = bytes.withUnsafeMutableBytes { (try? file.read(into: $0)) ?? 0 }
        return count == bytes.count && bytes == sqliteMark
    }
}
