// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatDrill
import LifeboatPolicy
import LifeboatRepository

/// `lifeboat drill`
struct DrillNoun: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drill", abstract: "Rehearse a recovery, measure it, and foretell the next.",
        subcommands: [DrillRunCommand.self, DrillList.self, DrillShow.self, DrillReportCommand.self, DrillClean.self],
        defaultSubcommand: DrillRunCommand.self)
}

extension CommandContext {
    /// The container engine as the user has it.
    var docker: DockerProgram { DockerProgram(runner: processRunner, environment: environment) }
}

/// The stack and the repository whose drills are asked for.
struct DrillSelection: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("The stack; else the policy's.", valueName: "name"))
    var stack: String?

    @OptionGroup var location: RepositoryOptions

    /// The drills there are; those that cannot be read are told.
    func history(_ session: CommandSession) throws -> (repository: Repository, history: DrillHistory) {
        let repository = try location.open(session, for: .reading)
        let history = try DrillHistory(repository, stack: try name(repository, session))
        for damage in history.damaged { session.warn(damage) }
        return (repository, history)
    }

    private func name(_ repository: Repository, _ session: CommandSession) throws -> String {
        if let stack {
            guard RepositoryLayout.isValidStackName(stack) else {
                throw LifeboatError("'\(EscapedName.line(stack))' is not the name of a stack", exitCode: .usage)
            }
            return stack
        }
        // Of the copy in another place as well: it was drilled with that policy.
        if let stack = try PolicyFile.find(location.policy, session.context)?.stack { return stack }
        throw LifeboatError(
            "it is not said which stack is meant", hint: "Say which one with --stack NAME.", exitCode: .usage)
    }
}

/// `lifeboat drill clean`
struct DrillClean: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "clean", abstract: "Remove sandboxes that were kept or left behind on this host.")

    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let journal = SandboxJournal(stateFolder: try PendingWork.stateFolder(session.context))
        let (cleared, problems) = try Sandbox.clearUp(
            journal, docker: session.context.docker, clock: session.context.clock, kept: true)
        for problem in problems { try session.problem(problem) }
        try session.emitReport(DrillCleanReport(drills: cleared.map(\.drill)))
        return problems.isEmpty ? .done : .failed
    }
}

private struct DrillCleanReport: OutputRendering {
    static let messageType = "summary"
    /// Whose sandboxes were removed.
    let drills: [String]

    var text: String {
        drills.isEmpty
            ? "there is no sandbox to remove"
            : drills.map { "removed the sandbox of drill \($0)" }.joined(separator: "\n")
    }
}
