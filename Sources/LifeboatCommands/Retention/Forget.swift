// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatRepository

/// `lifeboat forget`
struct Forget: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget", abstract: "Remove the snapshots of a stack that no rule keeps.",
        discussion: """
            The rules are those of the command line, or the policy's. Every snapshot is listed with the reasons why it \
            is kept, or why it goes. At a terminal nothing is removed without --yes; without a terminal --yes or \
            --dry-run must be given. Kept in any case: pinned snapshots, the newest complete one, the newest that a \
            drill verified, the newest of each host. The data itself stays in the repository until it is pruned.
            """)

    @OptionGroup(title: "Rules") var retention: RetentionOptions

    @Flag(name: [.customShort("n"), .long], help: "Only tell what would be removed.")
    var dryRun = false

    @Flag(name: [.short, .long], help: "Remove.")
    var yes = false

    @Flag(name: .long, help: "Also when more than half would go, or when a snapshot cannot be read.")
    var force = false

    @OptionGroup var location: RepositoryOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if dryRun, yes { throw ValidationError("--dry-run and --yes exclude each other") }
    }

    func run(_ session: CommandSession) throws -> ExitCode {
        guard yes || dryRun || session.canAsk else {
            throw LifeboatError(
                "forget removes snapshots, and there is no terminal to show them on first",
                hint: "Add --yes to remove them, or --dry-run to see which.", exitCode: .usage)
        }
        let context = session.context
        let repository = try location.open(session)
        let choice = try retention.choice(location, repository, session)
        let retention = Retention(repository, stack: choice.stack)
        let (plan, damaged, missingPins) = try retention.plan(
            choice.rules, calendar: choice.calendar, now: context.clock.now())
        for problem in damaged + missingPins { try session.problem(problem) }
        if !session.isQuiet {
            try session.emitTable(
                plan.decisions.map { RetentionRow($0, stack: plan.stack) },
                whenEmpty: "there are no snapshots of stack '\(plan.stack)'")
        }
        let objection = force ? nil : Retention.objection(to: plan, damaged: damaged)
        if yes {
            if let objection { throw objection }
            _ = try retention.carryOut(
                plan, clock: context.clock, host: context.host.name, cancellation: session.cancellation)
        } else if let objection, damaged.isEmpty {
            session.warn(objection)
        }
        try session.emitReport(RetentionReport(plan, dryRun: !yes))
        return damaged.isEmpty && missingPins.isEmpty ? .done : .damagedRepository
    }
}
