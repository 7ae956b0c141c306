// SPDX-License-Identifier: Apache-2.0

import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// `plan` and `restore` of a stack: what they ask, refuse, keep and foretell.
struct RestoreCommandTests {
    /// A stack of two volumes, backed up; then its files are changed.
    private func withStack(
        _ kind: CommandFixture.Kind = .inProcess, terminal: TerminalFacts = TerminalFacts(), health: String = "true",
        _ body: (CommandFixture) throws -> Void
    ) throws {
        let fixture = try CommandFixture(kind, terminal: terminal)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        try fixture.write("picture\n", to: "media/picture")
        try fixture.write(policy("demo", health: health), to: "lifeboat.yaml")
        try fixture.write("", to: "running")
        #expect(try fixture.run("repository", "init", "--encryption", "none").code == .done)
        #expect(try fixture.run("backup").code == .done)
        try fixture.write("spoiled\n", to: "docs/a.txt")
        try fixture.write("spoiled\n", to: "media/picture")
        try body(fixture)
    }

    private func policy(_ stack: String, health: String = "true", folder: String = ".") -> String {
        """
        stack: \(stack)
        repository: ./repository
        encryption: none
        components:
          documents: {volume: {path: \(folder)/docs}}
          media: {volume: {path: \(folder)/media}}
        services:
          commands:
            stop: [["rm", "-f", "running"]]
            start: [["touch", "running"]]
            status: [["test", "-e", "running"]]
        health:
          - {command: ["\(health)"], within: \(health == "false" ? "300ms" : "20s"), interval: 100ms}

        """
    }

    @Test func aDryRunPrintsThePlanAndTouchesNothing() throws {
        try withStack { fixture in
            let plan = try fixture.run("plan", "latest", "--exclude", "media", "--keep-old=36h")
            #expect(plan.code == .done, "\(plan)")
            let dryRun = try fixture.run("restore", "latest", "--exclude", "media", "--keep-old=36h", "--dry-run")
            #expect(dryRun.code == .done, "\(dryRun)")
            func steps(_ run: LifeboatRun) -> [Substring] { run.output.split(separator: "\n") }
            #expect(steps(dryRun) == steps(plan))
            #expect(!plan.output.contains("'media'"))
            #expect(plan.output.contains("keep what 'documents' was before, for a rollback"))
            #expect(plan.output.contains(" in all, of it down: "))
            #expect(plan.output.contains("'~': assumed, nothing like it was measured on this host"))
            #expect(try fixture.text("docs/a.txt") == "spoiled\n")
            let json = try fixture.run("restore", "latest", "-n", "--json")
            #expect(json.output.contains("\"forecast\":{\"assumed_steps\":"), "\(json)")
            #expect(json.output.contains("\"basis\":\"assumed\""))
        }
    }

    @Test func afterARestoreThePlanKnowsWhatItTook() throws {
        try withStack { fixture in
            let restored = try fixture.run("restore", "latest", "--yes")
            #expect(restored.code == .done, "\(restored)")
            #expect(try fixture.text("media/picture") == "picture\n")
            let plan = try fixture.run("plan", "latest")
            #expect(!plan.output.contains("~"), "\(plan)")
            try fixture.write("{", to: "state/rates/demo.json")
            let without = try fixture.run("plan", "latest")
            #expect(without.code == .done)
            #expect(without.output.contains("~"))
            #expect(without.error.contains("what earlier restores took cannot be read"), "\(without)")
        }
    }

    @Test func onlyWhatIsNotExcludedIsRestored() throws {
        try withStack { fixture in
            #expect(try fixture.run("restore", "latest", "--yes", "--exclude", "media").code == .done)
            #expect(try fixture.text("docs/a.txt") == "first\n")
            #expect(try fixture.text("media/picture") == "spoiled\n")
            let wrong = try fixture.run("restore", "latest", "--yes", "--exclude", "nosuch")
            #expect(wrong.code == .usage && wrong.error.contains("the policy has no component 'nosuch'"), "\(wrong)")
        }
    }

    @Test func oldDataIsToldKeptAndRemovedAfterItsTime() throws {
        try withStack { fixture in
            let restored = try fixture.run("restore", "latest", "--yes", "--keep-old=2h")
            #expect(restored.output.contains("the old data is kept until "), "\(restored)")
            #expect(restored.output.contains("; it takes "))
            #expect(try fixture.run("snapshots").error == "")

            let record = try #require(
                try FileTree.names(in: "\(fixture.path)/state/restores").first { $0.hasSuffix(".json") })
            let text = try fixture.text("state/restores/\(record)")
            let until = try #require(text.firstMatch(of: #/"kept_until" ?: ?"[^"]*"/#)).output
            try fixture.write(
                text.replacing(until, with: "\"kept_until\":\"2001-01-01T00:00:00Z\""), to: "state/restores/\(record)")
            let told = try fixture.run("snapshots")
            #expect(told.error.contains("is past its time"), "\(told)")
            #expect(try FileTree.names(in: fixture.path).contains { $0.hasPrefix("docs.lifeboat-") })

            let backup = try fixture.run("backup")
            #expect(backup.error.contains("was removed, about "), "\(backup)")
            #expect(try !FileTree.names(in: fixture.path).contains { $0.hasPrefix("docs.lifeboat-") })
            #expect(try fixture.run("snapshots").error == "")
            #expect(try fixture.run("restore", "--rollback", "--yes").code == .failed)
        }
    }

    @Test func oldDataGoesWhenItIsToldTo() throws {
        try withStack { fixture in
            #expect(try fixture.run("restore", "latest", "--yes", "--keep-old").code == .done)
            let unasked = try fixture.run("restore", "--discard-old")
            #expect(unasked.code == .usage, "\(unasked)")
            let discarded = try fixture.run("restore", "--discard-old", "--yes")
            #expect(discarded.code == .done && discarded.output.contains("its old data was removed"), "\(discarded)")
            #expect(try fixture.run("restore", "--discard-old", "--yes").output == "no old data is kept\n")
            #expect(try fixture.text("docs/a.txt") == "first\n")
        }
    }

    @Test func aSnapshotOfAnotherStackNeedsItsTargetNamed() throws {
        try withStack { fixture in
            try fixture.write(policy("other", folder: "./other"), to: "other.yaml")
            try fixture.write("other\n", to: "other/docs/a.txt")
            try fixture.write("other\n", to: "other/media/picture")
            let id = try #require(
                try fixture.run("snapshots", "--json").output.firstMatch(of: #/"id":"([0-9a-f]{64})"/#)
            ).output.1
            func restore(_ more: String...) throws -> LifeboatRun {
                try fixture.run(["restore", String(id), "--policy", "other.yaml"] + more)
            }
            let yes = try restore("--yes")
            #expect(yes.code == .usage && yes.error.contains("is of stack 'demo', not of 'other'"), "\(yes)")
            #expect(try restore("--yes", "--into-stack", "demo").code == .usage)
            #expect(try fixture.text("other/docs/a.txt") == "other\n")
            let plan = try fixture.run("plan", String(id), "--policy", "other.yaml")
            #expect(plan.output.contains("warning: the snapshot is of another stack, 'demo'"), "\(plan)")
            let into = try restore("--yes", "--into-stack", "other")
            #expect(into.code == .done, "\(into)")
            #expect(try fixture.text("other/docs/a.txt") == "first\n")
            #expect(try fixture.text("docs/a.txt") == "spoiled\n")
        }
    }

    @Test func whatMakesARestoreImpossibleIsAllInThePlanAndNothingIsTouched() throws {
        try withStack { fixture in
            let packs = "\(fixture.repository)/packs"
            for folder in try FileTree.names(in: packs) { try FileTree.remove("\(packs)/\(folder)") }
            try FileTree.remove("\(fixture.path)/media")
            try fixture.write("a file where a folder should be\n", to: "blocked")
            try fixture.write(
                policy("demo").replacing("./media", with: "./blocked/media"), to: "lifeboat.yaml")
            let plan = try fixture.run("plan", "latest", "--component", "documents")
            #expect(plan.code == .damagedRepository, "\(plan)")
            #expect(plan.output.contains("stop the services"))
            #expect(plan.error.contains("error: the repository lacks data of"))
            #expect(!plan.error.contains("blocked"))
            let whole = try fixture.run("plan", "latest")
            #expect(whole.error.contains("error: the repository lacks data of"), "\(whole)")
            #expect(whole.error.contains("blocked/media'"), "\(whole)")
            let restore = try fixture.run("restore", "latest", "--yes")
            #expect(restore.code != .done)
            #expect(try fixture.text("docs/a.txt") == "spoiled\n")
            #expect(fixture.exists("running"))
        }
    }

    @Test(arguments: CommandFixture.Kind.allCases)
    func aVolumeIsWrittenOverInPlaceWhenAsked(_ kind: CommandFixture.Kind) throws {
        try withStack(kind) { fixture in
            let plan = try fixture.run("plan", "latest", "--in-place", "documents")
            #expect(plan.output.contains("! write what differs of "), "\(plan)")
            #expect(plan.output.contains("is written over in place: what is there now cannot be brought back"))
            let restored = try fixture.run("restore", "latest", "--yes", "--in-place", "documents", "--verify-first")
            #expect(restored.code == .done, "\(restored)")
            #expect(try fixture.text("docs/a.txt") == "first\n")
            #expect(try fixture.text("media/picture") == "picture\n")
            #expect(fixture.exists("running"))
        }
    }

    @Test func aRestoreInPlaceThatIsNotHealthyIsCarriedOnNotBack() throws {
        try withStack { fixture in
            try fixture.write(policy("demo", health: "false"), to: "lifeboat.yaml")
            let ill = try fixture.run("restore", "latest", "--yes", "--in-place", "documents")
            #expect(ill.code == .failed, "\(ill)")
            #expect(ill.error.contains("in place was cut off"))
            #expect(try fixture.run("backup").code != .done)
            let back = try fixture.run("restore", "--rollback", "--yes")
            #expect(back.code == .usage && back.error.contains("writes in place and cannot be undone"), "\(back)")
            try fixture.write(policy("demo"), to: "lifeboat.yaml")
            let resumed = try fixture.run("restore", "--resume")
            #expect(resumed.code == .done, "\(resumed)")
            #expect(try fixture.text("docs/a.txt") == "first\n")
            #expect(try fixture.text("media/picture") == "picture\n")
            #expect(try fixture.run("backup").code == .done)
        }
    }
}
