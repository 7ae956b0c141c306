// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// `restore` of paths into the live stack, and to another target than the policy's.
struct RestorePartsTests {
    /// A stack of two volumes, backed up; then its files are changed. What its services are told is in `told`.
    private func withStack(_ kind: CommandFixture.Kind = .inProcess, _ body: (CommandFixture) throws -> Void) throws {
        let fixture = try CommandFixture(kind)
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        try fixture.write("picture\n", to: "media/picture")
        try fixture.write(policy(), to: "lifeboat.yaml")
        try fixture.write("", to: "running")
        #expect(try fixture.run("repository", "init", "--encryption", "none").code == .done)
        #expect(try fixture.run("backup").code == .done)
        for name in ["docs/a.txt", "docs/b.txt", "docs/sub/c.txt", "media/picture"] {
            try fixture.write("spoiled\n", to: name)
        }
        try fixture.write("", to: "told")
        try body(fixture)
    }

    private func policy(health: String = "true") -> String {
        """
        stack: demo
        repository: ./repository
        encryption: none
        components:
          documents: {volume: {path: ./docs}}
          media: {volume: {path: ./media}}
          list: {command: {capture: [echo, list], restore: ["true"], keep_old: false}}
        services:
          commands:
            stop: [["sh", "-c", "echo stop >> told; rm -f running"]]
            start: [["sh", "-c", "echo start >> told; touch running"]]
            status: [["test", "-e", "running"]]
        health:
          - {command: ["sh", "-c", "\(health)"], within: \(health == "false" ? "300ms" : "20s"), interval: 100ms}
        checks:
          - {name: documents are there, at_least: [{component: documents, files: "*.txt"}, 3]}

        """
    }

    private func texts(_ fixture: CommandFixture) throws -> [String] {
        try ["docs/a.txt", "docs/b.txt", "docs/sub/c.txt", "media/picture"].map { try fixture.text($0) }
    }

    private static let spoiled = Array(repeating: "spoiled\n", count: 4)

    @Test(arguments: CommandFixture.Kind.allCases)
    func pathsComeBackAndAllElseStays(_ kind: CommandFixture.Kind) throws {
        try withStack(kind) { fixture in
            let restored = try fixture.run(
                "restore", "latest", "--yes", "--keep-old", "--path", "documents:sub", "--path", "documents:/a.txt")
            #expect(restored.code == .done, "\(restored)")
            #expect(restored.output.contains("documents: paths 'a.txt' and 'sub' in folder '"))
            #expect(try texts(fixture) == ["first\n", "spoiled\n", "third\n", "spoiled\n"])
            #expect(try fixture.text("told") == "stop\nstart\n")
            let back = try fixture.run("restore", "--rollback", "--yes")
            #expect(back.code == .done, "\(back)")
            #expect(try texts(fixture) == Self.spoiled)
            #expect(try !FileTree.names(in: fixture.path).contains { $0.hasPrefix("docs.lifeboat-") })
        }
    }

    @Test(.enabled(if: geteuid() == 0, "needs root"))
    func `immutable and append-only files are replaced in place, and refused where they had to be exchanged`() throws {
        try withStack { fixture in
            func setFlags(_ name: String, _ flags: UInt32) throws {
                let file = try OwnedDescriptor.open("\(fixture.path)/\(name)", O_RDONLY)
                try FileFlags.set(file.raw, flags)
            }
            let names = ["docs/a.txt", "docs/b.txt", "docs/sub"]
            for (name, flags) in zip(names, [FileFlags.immutable, FileFlags.appendOnly, FileFlags.immutable]) {
                try setFlags(name, flags)
            }
            defer { for name in names { try? setFlags(name, 0) } }
            for (path, word) in [("a.txt", "immutable"), ("b.txt", "append-only"), ("sub/c.txt", "immutable")] {
                let part = try fixture.run("restore", "latest", "--yes", "--path", "documents:\(path)")
                #expect(part.code == .failed && part.error.contains("it is \(word) (chattr +"), "\(part)")
                #expect(try texts(fixture) == Self.spoiled && fixture.text("told") == "")
            }
            let whole = try fixture.run("restore", "latest", "--yes", "-c", "documents", "--in-place", "documents")
            #expect(whole.code == .done, "\(whole)")
            #expect(try texts(fixture) == ["first\n", "second\n", "third\n", "spoiled\n"])
            #expect(try fixture.run("backup").code == .done)
            try setFlags("docs", FileFlags.immutable)
            let exchange = try fixture.run("restore", "latest", "--yes", "-c", "documents")
            try setFlags("docs", 0)
            #expect(exchange.code == .failed && exchange.error.contains("immutable"), "\(exchange)")
        }
    }

    @Test func whatIsNotHealthyGoesBack() throws {
        try withStack { fixture in
            try fixture.write(policy(health: "false"), to: "lifeboat.yaml")
            let ill = try fixture.run("restore", "latest", "--yes", "--path", "\(fixture.path)/docs/sub/c.txt")
            #expect(ill.code == .rolledBack, "\(ill)")
            #expect(try texts(fixture) == Self.spoiled)
            #expect(fixture.exists("running"))
        }
    }

    @Test(arguments: ["--resume", "--rollback"])
    func aRestoreThatWasKilledGoesOnOrBack(_ direction: String) throws {
        try withStack(.binary) { fixture in
            try fixture.write(
                policy(health: "if grep -q first docs/a.txt && rm die; then kill -9 $PPID; fi"), to: "lifeboat.yaml")
            try fixture.write("", to: "die")
            let killed = try fixture.run("restore", "latest", "--yes", "--path", "documents:a.txt")
            #expect(killed.exit == 137, "\(killed)")
            #expect(try texts(fixture) == ["first\n", "spoiled\n", "spoiled\n", "spoiled\n"])
            let later = try fixture.run("restore", direction, "--yes")
            #expect(later.code == .done, "\(later)")
            let expected = direction == "--resume" ? ["first\n"] + Self.spoiled.dropLast() : Self.spoiled
            #expect(try texts(fixture) == expected)
            #expect(try fixture.run("restore", "--resume").output == "there is nothing to resume\n")
            #expect(try !FileTree.names(in: fixture.path).contains { $0.hasPrefix("docs.lifeboat-") })
        }
    }

    @Test func thePlanSaysWhatIsRestored() throws {
        try withStack { fixture in
            let plan = try fixture.run("plan", "latest", "--path", "documents:sub", "--keep-old=2h")
            #expect(plan.code == .done, "\(plan)")
            #expect(plan.output.contains("UTC: 6 B\n"))
            #expect(plan.output.contains("\n  of 'documents' only: sub\n"))
            #expect(plan.output.contains("stage 6 B of 'documents' beside path 'sub' in folder '"))
            #expect(!plan.output.contains("'media'"))
            let json = try fixture.run("restore", "latest", "-n", "--json", "--path", "documents:sub", "-c", "media")
            #expect(json.output.contains("\"parts\":[\"sub\"]"), "\(json)")
            #expect(json.output.contains("\"name\":\"media\""))
            // Another state than that of the snapshot: nothing is promised about it.
            #expect(json.output.contains("\"checks\":[{\"name\":\"documents are there\",\"required\":false}]"))
            #expect(try fixture.run("plan", "latest", "--json").output.contains("\"required\":true"))
            #expect(try texts(fixture) == Self.spoiled)
        }
    }

    @Test func whatDoesNotFitIsToldBeforeAnythingIsTouched() throws {
        try withStack { fixture in
            func fails(_ arguments: String..., with text: String) throws {
                let run = try fixture.run(["restore", "latest", "--yes"] + arguments)
                #expect(run.code == .usage && run.error.contains(text), "\(run)")
            }
            try fails("--path", "sub", with: "cause: it can be of 'documents', 'media'")
            try fails("--path", "list:x", with: "error: component 'list' (command) is restored as a whole only")
            try fails(
                "--collection", "documents:x", with: "parts of component 'documents' (volume) are named with --path")
            try fails("--collection", "x", with: "the policy has no component that --collection is for")
            try fails("--path", "documents:../media", with: "leads upwards")
            try fails("--path", "documents:.", with: "names no path")
            try fails("--path", "/elsewhere", with: "'/elsewhere' is in no volume of the policy")
            try fails("--path", "documents:sub", "--in-place", "documents", with: "cannot be restored in place")
            try fails("--path", "documents:sup", with: "hint: Did you mean 'sub'?")
            #expect(try texts(fixture) == Self.spoiled)
            #expect(try fixture.text("told") == "")
        }
    }

    @Test func aPartIsRestoredThoughOtherDataOfItsComponentIsLost() throws {
        try withStack { fixture in
            fixture.clock.advance(seconds: 60)
            #expect(try fixture.run("backup").code == .done)
            fixture.clock.advance(seconds: 60)
            func packs() throws -> [String] {
                let folder = "\(fixture.repository)/packs"
                return try FileTree.names(in: folder).flatMap { part in
                    try FileTree.names(in: "\(folder)/\(part)").map { "\(folder)/\(part)/\($0)" }
                }
            }
            let before = try packs()
            // So many that the listing is another one, and no patch of the one before.
            for number in 0..<60 { try fixture.write("more \(number)\n", to: "docs/more/\(number)") }
            #expect(try fixture.run("backup").code == .done)
            try fixture.write("spoiled\n", to: "docs/more/7")
            for pack in before { try FileTree.remove(pack) }
            for lost in [["--path", "documents:sub"], ["-c", "documents"]] {
                let run = try fixture.run(["restore", "latest", "--yes"] + lost)
                #expect(run.code == .damagedRepository, "\(run)")
            }
            let run = try fixture.run("restore", "latest", "--yes", "--verify-first", "--path", "documents:more")
            #expect(run.code == .done, "\(run)")
            #expect(try fixture.text("docs/more/7") == "more 7\n")
        }
    }

    @Test(arguments: CommandFixture.Kind.allCases)
    func anotherTargetLeavesTheStackAlone(_ kind: CommandFixture.Kind) throws {
        try withStack(kind) { fixture in
            try fixture.write(policy(health: "false"), to: "lifeboat.yaml")
            let target = ["--target", "documents.path=./copy/docs"]
            try FileTree.createFolders("\(fixture.path)/copy")
            let plan = try fixture.run(["plan", "latest"] + target)
            #expect(plan.code == .done, "\(plan)")
            #expect(plan.output.contains("\n  instead of what the policy says: documents.path=./copy/docs\n"))
            #expect(plan.output.contains("its services and health probes are left alone"))
            #expect(!plan.output.contains("stop the services") && !plan.output.contains("'media'"))
            let json = try fixture.run(["plan", "latest", "--json"] + target)
            #expect(json.output.contains("\"targets\":[{\"key\":\"documents.path\",\"value\":\"./copy/docs\"}]"))
            let restored = try fixture.run(["restore", "latest", "--yes"] + target)
            #expect(restored.code == .done, "\(restored)")
            #expect(try fixture.text("copy/docs/sub/c.txt") == "third\n")
            #expect(try texts(fixture) == Self.spoiled)
            #expect(try fixture.text("told") == "")

            // A part of it, and back where that went.
            try fixture.write("newer\n", to: "copy/docs/a.txt")
            let part = try fixture.run(
                ["restore", "latest", "--yes", "--keep-old", "--path", "\(fixture.path)/docs/a.txt"] + target)
            #expect(part.code == .done, "\(part)")
            #expect(try fixture.text("copy/docs/a.txt") == "first\n")
            #expect(try fixture.run("restore", "--rollback", "--yes").code == .done)
            #expect(try fixture.text("copy/docs/a.txt") == "newer\n")
            #expect(try texts(fixture) == Self.spoiled)
        }
    }

    @Test func whatIsWrongWithATargetIsTold() throws {
        try withStack { fixture in
            func fails(_ arguments: String..., with text: String) throws {
                let run = try fixture.run(["restore", "latest", "--yes"] + arguments)
                #expect(run.code == .usage && run.error.contains(text), "\(run)")
            }
            try fails("--target", "docments.path=/x", with: "hint: Did you mean 'documents'?")
            try fails("--target", "documents.pth=/x", with: "--target documents.pth: unknown key 'pth'")
            try fails("--target", "documents.password=canary", with: "must not be on a command line")
            try fails(
                "--target", "documents.path=./copy", "-c", "media", with: "component 'media' has no other target")
            // A person types the name; nothing is asked without a terminal.
            let unasked = try fixture.run("restore", "latest", "--target", "documents.path=./copy")
            #expect(unasked.code == .usage && unasked.error.contains("Add --yes"), "\(unasked)")
            #expect(!fixture.exists("copy"))
        }
    }

    @Test func otherServicesAreStoppedAndStarted() throws {
        try withStack { fixture in
            let target = ["--target", "services.commands.stop=[[rm, -f, running]]"]
            let plan = try fixture.run(["plan", "latest", "-c", "documents"] + target)
            #expect(plan.output.contains("services are another target than the policy's"), "\(plan)")
            #expect(plan.output.contains("stop the services"))
            let restored = try fixture.run(["restore", "latest", "--yes", "-c", "documents"] + target)
            #expect(restored.code == .done, "\(restored)")
            #expect(try fixture.text("told") == "start\n")
        }
    }
}
