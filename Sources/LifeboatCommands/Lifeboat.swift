// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The root of the command line.
struct Lifeboat: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lifeboat",
        abstract: "Back up a self-hosted stack, and prove that it comes back.",
        version: "lifeboat \(LifeboatProgram.version)",
        groupedSubcommands: [
            CommandGroup(name: "Setting-up", subcommands: [Init.self, RepositoryNoun.self, KeyNoun.self]),
            CommandGroup(name: "Backup", subcommands: [Backup.self, Prune.self]),
            CommandGroup(name: "Check", subcommands: [Check.self, Scrub.self, Repair.self]),
            CommandGroup(
                name: "Snapshot",
                subcommands: [
                    Snapshots.self, Show.self, List.self, Find.self, Diff.self, Cat.self, Export.self,
                ]),
            CommandGroup(name: "Retention", subcommands: [Forget.self, PinCommand.self, Unpin.self]),
            CommandGroup(name: "Restore", subcommands: [Plan.self, Restore.self, Resume.self]),
            CommandGroup(name: "Drill", subcommands: [DrillNoun.self]),
        ])
}
