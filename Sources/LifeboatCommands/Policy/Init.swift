// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LifeboatCore
import LifeboatIO
import LifeboatPolicy
import LifeboatRepository

/// `lifeboat init`
struct Init: LifeboatCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Write a commented policy to start from.",
        discussion:
            "Beside a Compose file, the databases, models and folders of its services become components, and SQLite "
            + "files near it too. An existing file is never replaced. The policy is valid as it is written; edit it, "
            + "then create the repository it names with 'lifeboat repository init'.")

    @Option(name: .long, help: ArgumentHelp("The file to write.", valueName: "file"))
    var policy: String = PolicyFile.defaultName

    @Option(name: .long, help: ArgumentHelp("Name of the stack; else the name of the folder.", valueName: "name"))
    var stack: String?

    @Option(
        name: [.short, .long],
        help: ArgumentHelp("Folder of the repository; else /var/backups/STACK.", valueName: "folder"))
    var repository: String?

    @Option(
        name: .long,
        help: ArgumentHelp("The folder to protect; else what is found, or ./data.", valueName: "folder"))
    var volume: String?

    @OptionGroup var output: OutputOptions

    func run(_ session: CommandSession) throws -> ExitCode {
        let context = session.context
        let path = context.absolutePath(policy)
        let folderName = path.split(separator: "/").dropLast().last.map(String.init) ?? "stack"
        let stack = self.stack ?? StarterPolicy.stackName(from: folderName)
        guard RepositoryLayout.isValidStackName(stack) else {
            throw LifeboatError(
                "'\(stack)' cannot be the name of a stack",
                hint: "Use a-z, 0-9, '.', '_' and '-', starting with a letter or digit.", exitCode: .usage)
        }
        let location = try Locations.repository(repository ?? "/var/backups/\(stack)", context)
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
        let seen = volume == nil ? try Surroundings(folder, context) : nil
        let text = StarterPolicy.text(
            stack: stack, repository: location, volume: volume ?? "./data", found: seen?.found, compose: seen?.compose)
        let bytes = Array(text.utf8)
        let written = try bytes.withUnsafeBytes { try AtomicFile.write([$0], to: path, mode: 0o644, replacing: false) }
        guard written else {
            throw LifeboatError(
                "'\(policy)' exists already",
                hint: "Edit it, or write another file with 'lifeboat init --policy FILE'.")
        }
        try session.emitReport(
            InitReport(
                policy: path, stack: stack, repository: location, components: seen?.found.components.map(\.name) ?? []))
        return .done
    }
}

private struct InitReport: OutputRendering {
    static let messageType = "summary"
    let policy: String
    let stack: String
    let repository: String
    /// Those that were found.
    let components: [String]

    var text: String {
        let found = components.isEmpty ? "" : "components: \(components.joined(separator: ", "))\n"
        return """
            wrote the policy '\(EscapedName.line(policy))' of stack '\(stack)'
            \(found)next: edit it, then run
              lifeboat repository init --repository \(ShellWord.quoted(repository)) --encryption none
              lifeboat backup --policy \(ShellWord.quoted(policy))
            """
    }
}

/// Words for people to paste into a shell.
enum ShellWord {
    static func quoted(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { byte in
            (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte)
                || [43, 44, 45, 46, 47, 58, 61, 64, 95].contains(byte)
        }
        if isPlain, !text.isEmpty { return text }
        return "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}
