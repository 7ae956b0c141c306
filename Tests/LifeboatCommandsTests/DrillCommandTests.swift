// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// Drills of a folder and a file, which need no engine.
struct DrillCommandTests {
    /// A stack with a folder, and nothing backed up yet. `drill`: what the policy says of drills.
    private func fixture(encryption: String, drill: String = "") throws -> CommandFixture {
        let fixture = try CommandFixture(.binary)
        try fixture.makeDocuments()
        try FileTree.createFolders("\(fixture.path)/sandboxes")
        try fixture.write(
            """
            stack: demo
            repository: ./repository
            encryption: \(encryption)
            components: {documents: {volume: {path: ./docs}}}
            drill: {folder: ./sandboxes\(drill)}

            """, to: "lifeboat.yaml")
        return fixture
    }

    private func results(_ fixture: CommandFixture) throws -> [String] {
        try ShellProof.run("ls \(fixture.repository)/drills/demo 2>/dev/null || :")
            .split(separator: "\n").map(String.init)
    }

    @Test("in an encrypted repository a drill needs the key, and its result can be read with it only")
    func encrypted() throws {
        let fixture = try fixture(encryption: "{passphrase: {file: ./passphrase}}")
        defer { try? fixture.folder.remove() }
        for name in ["passphrase", "wrong"] { try fixture.write("\(name) horse\n", to: name) }
        #expect(try ShellProof.run("chmod 600 \(fixture.path)/passphrase \(fixture.path)/wrong") == "")
        let empty = try fixture.run("drill")
        #expect(empty.code == .noRepository, "\(empty)")
        #expect(try fixture.run("repository", "init").code == .done)
        let early = try fixture.run("drill")
        #expect(early.code == .failed && early.error.contains("no complete snapshot"), "\(early)")
        #expect(try fixture.run("backup").code == .done)
        let wrong = try fixture.run("drill", "--passphrase-file", "wrong")
        #expect(wrong.code == .wrongKey, "\(wrong)")
        #expect(try results(fixture) == [])
        for count in 1...2 {
            let drill = try fixture.run("drill", "--passphrase-file", "passphrase")
            #expect(drill.code == .done, "\(drill)")
            #expect(drill.output.contains("--passphrase-file passphrase"), "\(drill)")
            #expect(try results(fixture).count { $0.hasSuffix(".json.age") } == count)
        }
        #expect(try results(fixture).allSatisfy { $0.hasSuffix(".age") || $0.hasSuffix(".minisig") })
        let plain = try ShellProof.run("grep -l demo \(fixture.repository)/drills/demo/*.age || :")
        #expect(plain == "")
        #expect(try fixture.run("drill", "history", "--passphrase-file", "wrong").code == .wrongKey)
        #expect(try fixture.run("drill", "history").output.split(separator: "\n").count == 3)
        let plan = try fixture.run("plan", "latest")
        #expect(plan.output.contains("by drills, all of it ") && plan.output.contains("; ten times "), "\(plan)")
        #expect(try fixture.run("plan", "latest", "--json").output.contains(#""drills":{"drills":2,"#))
    }

    @Test("a damaged result stops retention until repair has put it aside")
    func damagedResult() throws {
        let fixture = try fixture(encryption: "none")
        defer { try? fixture.folder.remove() }
        #expect(try fixture.run("repository", "init").code == .done)
        for _ in 1...3 { #expect(try fixture.run("backup").code == .done) }
        #expect(try fixture.run("drill").code == .done)
        let name = try #require(try results(fixture).first { $0.hasSuffix(".json") })
        _ = try ShellProof.run("printf x >>\(fixture.repository)/drills/demo/\(name)")
        for command in [["check"], ["scrub"], ["forget", "--keep-last", "2", "--yes"]] {
            let run = try fixture.run(command)
            #expect(run.code == .damagedRepository && (run.output + run.error).contains(name), "\(run)")
        }
        #expect(try fixture.run("repair", "--yes").code == .done)
        #expect(try fixture.run("check").code == .done)
        #expect(try fixture.run("forget", "--keep-last", "2", "--yes").code == .done)
    }

    @Test("a drill of the copy in another place needs nothing of the first, and keeps its result there")
    func copy() throws {
        let fixture = try fixture(encryption: "none")
        defer { try? fixture.folder.remove() }
        #expect(try fixture.run("repository", "init").code == .done)
        #expect(try fixture.run("backup").code == .done)
        _ = try ShellProof.run("cp -a \(fixture.repository) \(fixture.path)/copy")
        let drill = try fixture.run("drill", "--repository", "copy")
        #expect(drill.code == .done && drill.output.contains("--repository copy"), "\(drill)")
        #expect(try results(fixture) == [])
        #expect(try ShellProof.run("ls \(fixture.path)/copy/drills/demo").contains(".json"))
        #expect(try !fixture.run("drill", "history").output.contains("passed"))
        // The first is lost, and what of the copy no longer fits is found.
        _ = try ShellProof.run("mv \(fixture.repository) \(fixture.path)/lost")
        #expect(try fixture.run("drill").code == .noRepository)
        #expect(try fixture.run("drill", "--repository", "copy").code == .done)
        let listed = try fixture.run("drill", "history", "--repository", "copy").output
        #expect(listed.split(separator: "\n").count == 3 && !listed.contains("failed"), "\(listed)")
        _ = try ShellProof.run("find \(fixture.path)/copy/packs -type f -delete")
        let damaged = try fixture.run("drill", "--repository", "copy")
        #expect(damaged.code == .failed, "\(damaged)")
        #expect(try fixture.run("drill", "history", "--repository", "copy").output.contains("failed"))
        // Of another stack the copy holds nothing.
        let policy = try ShellProof.run("cat \(fixture.path)/lifeboat.yaml").replacing(
            "stack: demo", with: "stack: other")
        try fixture.write(policy, to: "lifeboat.yaml")
        let other = try fixture.run("drill", "--repository", "copy")
        #expect(other.code == .failed && other.error.contains("no complete snapshot"), "\(other)")
        #expect(try !ShellProof.run("ls \(fixture.path)/copy/drills").contains("other"))
    }

    @Test("a share of the files of every snapshot is drilled, and does not count as verified")
    func sample() throws {
        let fixture = try fixture(encryption: "none", drill: ", sample: 40%")
        defer { try? fixture.folder.remove() }
        for number in 0..<30 { try fixture.write("document \(number)\n", to: "docs/d\(number)") }
        #expect(try fixture.run("repository", "init").code == .done)
        #expect(try fixture.run("backup").code == .done)
        let drill = try fixture.run("drill")
        #expect(drill.code == .done && drill.output.contains("(sample 40 %)"), "\(drill)")
        #expect(drill.output.contains("files of component 'documents'"), "\(drill)")
        #expect(try fixture.run("drill", "--sample", "100%").output.contains("(sample") == false)
        let listed = try fixture.run("drill", "history").output
        #expect(listed.contains("sample 40 %") && listed.contains("full"), "\(listed)")
        let wrong = try fixture.run("drill", "--sample", "none")
        #expect(wrong.code == .usage && wrong.error.contains("'none' is not a share of the data"), "\(wrong)")
    }

    @Test("an interrupted drill leaves nothing, neither a sandbox nor a result")
    func interrupted() throws {
        let fixture = try fixture(
            encryption: "none", drill: ", probes: [{command: [sh, -c, \"touch probed; exec sleep 600\"], within: 600s}]"
        )
        defer { try? fixture.folder.remove() }
        #expect(try fixture.run("repository", "init").code == .done)
        #expect(try fixture.run("backup").code == .done)
        let drill = try BinaryRunner().start(["drill"], environment: fixture.environment, in: fixture.path)
        for _ in 0..<3000 {
            if try ShellProof.run("find \(fixture.path) -name probed") != "" { break }
            usleep(20_000)
        }
        #expect(drill.send(SIGINT))
        let run = try drill.wait()
        #expect(run.code == .interrupted, "\(run)")
        #expect(
            try ShellProof.run("ls \(fixture.path)/sandboxes; ls \(fixture.path)/state/drills | grep json || :") == "")
        #expect(try results(fixture) == [])
    }
}
