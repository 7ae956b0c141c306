// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatDrill
import LifeboatIO
import LifeboatPolicy
import LifeboatRestore
import LifeboatServices

/// `lifeboat resume`
struct Resume: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Start what a lifeboat that died left stopped or paused.",
        discussion: """
            Reads the journal on this host: services are unpaused and started with the commands that were written down \
            before they were touched, without their policy. Restores that were cut off are finished or undone; these \
            need the policy of their stack. Sandboxes of drills that were cut off are removed. Meant to be run at boot (scripts/lifeboat-resume.service); when there is \
            nothing to do it does nothing.
            """)

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "Policy of a stack whose restore was cut off (repeatable); else all that other commands find.",
            valueName: "file"))
    var policy: [String] = []

    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let folder = try PendingWork.stateFolder(session.context)
        var report = ResumeReport()
        var failed = try resumeServices(
            ServiceJournal(stateFolder: folder, clock: session.context.clock), session, &report)
        if try recoverRestores(RestoreJournal(stateFolder: folder), session, &report) { failed = true }
        let (cleared, problems) = try Sandbox.clearUp(
            SandboxJournal(stateFolder: folder), docker: session.context.docker, clock: session.context.clock)
        report.drills = cleared.map(\.drill)
        for problem in problems {
            try session.problem(problem)
            failed = true
        }
        try session.emitReport(report)
        return failed ? .failed : .done
    }

    /// Whether anything is left undone.
    private func resumeServices(
        _ journal: ServiceJournal, _ session: CommandSession, _ report: inout ResumeReport
    ) throws -> Bool {
        let listing = try journal.list()
        for damage in listing.damaged { try session.problem(damage) }
        var failed = !listing.damaged.isEmpty
        for entry in listing.abandoned {
            do {
                try journal.resume(
                    entry, runner: session.context.processRunner, progress: session.progress,
                    cancellation: session.cancellation)
                report.services.append(
                    ResumeReport.Services(
                        stack: entry.stack, operation: entry.operation, started: entry.services,
                        unpaused: entry.paused ?? []))
            } catch {
                let converted = LifeboatError.converting(error)
                if converted.exitCode == .interrupted { throw converted }
                try session.problem(converted)
                failed = true
            }
        }
        for entry in listing.live { session.note("left alone: \(entry.subject) is at work") }
        return failed
    }

    private func recoverRestores(
        _ journal: RestoreJournal, _ session: CommandSession, _ report: inout ResumeReport
    ) throws -> Bool {
        let records = try journal.records()
        for damage in records.unreadable { try session.problem(damage) }
        var failed = !records.unreadable.isEmpty
        let stacks = Set(records.records.filter(\.needsRecovery).map(\.plan.stack)).sorted()
        guard !stacks.isEmpty else { return failed }
        let policies = try PolicyFile.all(policy, session.context)
        for problem in policies.problems { try session.problem(problem) }
        if !policies.problems.isEmpty { failed = true }
        for stack in stacks {
            do {
                guard let policy = policies.policies.first(where: { $0.stack == stack }) else {
                    throw LifeboatError(
                        "a restore of stack '\(stack)' was cut off, and there is no policy of that stack",
                        hint: "Run 'lifeboat restore --resume --policy FILE' with the policy it was started with.")
                }
                for outcome in try PendingWork.recover(StackAssembly(policy, session), session) {
                    report.restores.append(
                        ResumeReport.Restored(
                            stack: outcome.stack, restore: outcome.id, decision: outcome.decision))
                }
            } catch {
                let converted = LifeboatError.converting(error)
                if converted.exitCode == .interrupted { throw converted }
                try session.problem(converted)
                failed = true
            }
        }
        return failed
    }
}

private struct ResumeReport: OutputRendering {
    static let messageType = "summary"

    struct Services: Encodable, Sendable {
        let stack: String
        let operation: String
        let started: [String]
        let unpaused: [String]
    }

    struct Restored: Encodable, Sendable {
        let stack: String
        let restore: String
        let decision: RestoreRecovery.Decision
    }

    var services: [Services] = []
    var restores: [Restored] = []
    /// Whose sandboxes were removed.
    var drills: [String] = []

    var text: String {
        var lines: [String] = []
        for item in services {
            let done = [("started", item.started), ("unpaused", item.unpaused)].filter { !$0.1.isEmpty }
                .map { "\($0.0) \($0.1.joined(separator: ", "))" }
            lines.append(
                "stack '\(EscapedName.line(item.stack))': \(EscapedName.line(done.joined(separator: "; ")))")
        }
        for item in restores {
            lines.append("stack '\(EscapedName.line(item.stack))': restore '\(item.restore)' was \(item.decision.word)")
        }
        for drill in drills { lines.append("the sandbox of drill \(drill) was removed") }
        return lines.isEmpty ? "nothing was left undone" : lines.joined(separator: "\n")
    }
}
