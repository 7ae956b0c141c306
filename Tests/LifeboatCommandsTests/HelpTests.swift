// SPDX-License-Identifier: Apache-2.0

import LifeboatCommands
import LifeboatCore
import LifeboatTesting
import Testing

struct HelpTests {
    static let commands = [
        "", "init", "repository", "repository init", "repository info", "repository trust", "key",
        "key generate", "key list", "key add", "key remove", "key adopt", "key rewrap", "key export-recovery-sheet",
        "backup", "check", "scrub",
        "repair",
        "snapshots", "show", "ls",
        "find", "diff", "cat", "export", "forget", "pin", "unpin", "plan", "prune", "restore", "resume",
        "drill", "drill run", "drill history", "drill show", "drill report", "drill clean",
    ]

    @Test(arguments: commands)
    func helpIsAsWrittenDown(command: String) throws {
        let words = command.split(separator: " ").map(String.init)
        let runner = InProcessRunner(clock: FixedClock(), terminal: TerminalFacts(columns: 80))
        let run = try runner.run(words + ["--help"])
        #expect(run.code == .done)
        #expect(run.error.isEmpty)
        let name = command.isEmpty ? "lifeboat" : words.joined(separator: "-")
        let difference = try GoldenFile("commands/help/\(name).txt").difference(from: run.output)
        #expect(difference == nil, "\(difference ?? "")")
    }

    @Test func everyCommandHasItsHelpTested() throws {
        let root = try InProcessRunner().run(["--help"]).output
        let listed = root.split(separator: "\n").filter { $0.hasPrefix("  ") && !$0.hasPrefix("   ") }
            .compactMap { $0.split(separator: " ").first.map(String.init) }
            .filter { !$0.hasPrefix("-") && $0 != "See" }
        #expect(!listed.isEmpty)
        #expect(listed.allSatisfy { Self.commands.contains($0) }, "\(listed)")
    }

    @Test func theVersionIsOneLine() throws {
        let run = try InProcessRunner().run(["--version"])
        #expect(run.output == "lifeboat \(LifeboatProgram.version)\n")
        #expect(run.code == .done)
    }
}
