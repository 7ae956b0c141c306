// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatIO

/// A folder of its own for one drill, with everything that is made for it. Recorded in the state folder from before it
/// is there until it is gone.
package final class Sandbox {
    package let record: SandboxRecord
    private let journal: SandboxJournal
    private let clock: any Clock
    private let docker: DockerProgram

    package var folder: String { record.folder }
    /// The host's paths below the sandbox.
    package var root: String { "\(folder)/root" }

    /// Makes it below `parent`, which has to exist; with a project of `docker` when `hasProject`.
    package init(
        drill: String, stack: String, in parent: String, hasProject: Bool, journal: SandboxJournal,
        docker: DockerProgram, clock: any Clock
    ) throws {
        guard let resolved = realpath(parent, nil) else {
            throw LifeboatError.converting(
                SystemCallError("open", parent), "there is no place for the sandbox",
                hint: "Name a folder with 'drill.folder' in the policy or --folder.")
        }
        defer { free(resolved) }
        let place = String(cString: resolved)
        let folder = "\(place == "/" ? "" : place)/\(Self.prefix)\(drill)"
        var record = SandboxRecord(
            drill: drill, stack: stack, owner: try .current(), created: clock.now(), folder: folder)
        if hasProject { record.project = SandboxRecord.project(of: drill) }
        self.record = record
        self.docker = docker
        self.journal = journal
        self.clock = clock
        try journal.write(record)
        guard mkdir(folder, 0o711) == 0 else { throw SystemCallError("create folder", folder) }
        try FileTree.createFolders(root)
    }

    /// Leaves it for somebody to look at.
    package func keep() throws {
        var kept = record
        kept.isKept = true
        try journal.write(kept)
    }

    /// Ends its processes, removes its files, and forgets it.
    package func remove() throws { try Self.remove(record, journal, docker, clock) }

    private static let prefix = "lifeboat-drill-"

    private static func remove(
        _ record: SandboxRecord, _ journal: SandboxJournal, _ docker: DockerProgram, _ clock: any Clock
    ) throws {
        // Whatever a record says, nothing but a sandbox is removed.
        guard record.folder.split(separator: "/").last?.hasPrefix(prefix) == true else {
            throw LifeboatError("'\(record.folder)' is not the folder of a sandbox")
        }
        if let project = record.project { try ComposeSandbox.remove(project, docker) }
        try SandboxProcesses.end(in: record.folder, clock)
        try FileTree.remove(record.folder)
        try journal.remove(record.drill)
    }

    /// Clears up after drills that did not end; with `kept` also what was asked to stay. What it did, for people.
    package static func clearUp(
        _ journal: SandboxJournal, docker: DockerProgram, clock: any Clock, kept: Bool = false
    ) throws -> (cleared: [SandboxRecord], problems: [LifeboatError]) {
        let listing = try journal.records()
        var cleared: [SandboxRecord] = []
        var problems = listing.unreadable
        for record in listing.records {
            guard try record.isKept ? kept : !record.owner.isAlive() else { continue }
            do {
                try remove(record, journal, docker, clock)
                cleared.append(record)
            } catch {
                problems.append(
                    LifeboatError.converting(error, "cannot clear up after drill '\(record.drill)'"))
            }
        }
        return (cleared, problems)
    }
}
