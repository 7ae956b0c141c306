// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatPolicy

/// How paths are backed up without a policy.
struct AdHocOptions: ParsableArguments {
    static let defaultStack = "files"

    @Option(
        name: .long,
        help: ArgumentHelp("The stack the snapshot belongs to; else '\(defaultStack)'.", valueName: "name"))
    var stack: String?

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "Leave out what matches (repeatable): without a slash a name at any depth, with one a path below the root.",
            valueName: "glob"))
    var exclude: [String] = []

    @Flag(name: .long, help: "Leave out folders that carry a CACHEDIR.TAG.")
    var excludeCaches = false

    @Flag(name: .long, help: "Also what is mounted below a path.")
    var crossFileSystems = false

    var isUsed: Bool { stack != nil || !exclude.isEmpty || excludeCaches || crossFileSystems }

    /// A volume for each path, which must exist; given twice it counts once.
    func volumes(_ paths: [String], _ context: CommandContext) throws -> [VolumePolicy] {
        var volumes: [VolumePolicy] = []
        for path in paths {
            let absolute = context.absolutePath(path)
            var status = stat()
            guard lstat(absolute, &status) == 0 else {
                let reason = SystemCallError.describe(errno)
                throw LifeboatError(
                    "cannot back up '\(path)'", causes: [reason],
                    hint: errno == ENOENT ? "Correct the path; nothing was backed up." : nil)
            }
            if volumes.contains(where: { $0.path == absolute }) { continue }
            volumes.append(
                VolumePolicy(
                    path: absolute, exclude: exclude, excludeCaches: excludeCaches,
                    oneFileSystem: !crossFileSystems))
        }
        return volumes
    }
}
