// SPDX-License-Identifier: Apache-2.0

import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// What the command line refuses, and how it says so.
struct UsageTests {
    private static let runner = InProcessRunner(clock: FixedClock())

    @Test(
        arguments: [
            (["nosuch"], "error: there is no command 'nosuch'\nhint: See 'lifeboat --help'."),
            (["repository", "nosuch"], "error: there is no command 'nosuch'\nhint: See 'lifeboat repository --help'."),
            (["--nosuch"], "error: unknown option '--nosuch'\nhint: See 'lifeboat --help'."),
            (["ls"], "error: missing expected argument '<snapshot>'\nhint: See 'lifeboat ls --help'."),
            (
                ["ls", "latest", "--recursiv"],
                "error: unknown option '--recursiv'. Did you mean '--recursive'?\nhint: See 'lifeboat ls --help'."
            ),
            (["ls", "a", "b", "c"], "error: unexpected argument 'c'\nhint: See 'lifeboat ls --help'."),
            (["diff", "a"], "error: missing expected argument '<new>'\nhint: See 'lifeboat diff --help'."),
            (
                ["repository", "init", "--encryption", "rot13"],
                "error: the value 'rot13' is invalid for '--encryption <method>'. Please provide one of 'none'\n"
                    + "hint: See 'lifeboat repository init --help'."
            ),
            (
                ["restore", "--at", "yesterday"],
                "error: the value 'yesterday' is invalid for '--at <time>'\nhint: See 'lifeboat restore --help'."
            ),
            (
                ["restore", "latest", "--resume"],
                "error: --resume, --rollback and --discard-old stand alone\nhint: See 'lifeboat restore --help'."
            ),
            (
                ["restore", "latest", "--to", "/a", "--collection", "c"],
                "error: --to goes with --component, --path, --at and --incomplete only\nhint: See 'lifeboat restore --help'."
            ),
            (
                ["restore", "--resume", "--target", "a.b=c"],
                "error: --resume, --rollback and --discard-old stand alone\nhint: See 'lifeboat restore --help'."
            ),
            (["backup", ""], "error: a component or path is empty\nhint: See 'lifeboat backup --help'."),
            (
                ["export", "latest"],
                "error: missing expected argument '--output <file>'\nhint: See 'lifeboat export --help'."
            ),
            (
                ["check", "--repository"],
                "error: missing value for '--repository <folder>'\nhint: See 'lifeboat check --help'."
            ),
            (
                ["repository", "init", "--repository", "/nonexistent/r"],
                "error: how to encrypt was not said\nhint: Add --recipient age1… (make one with 'lifeboat key "
                    + "generate'), --passphrase-file FILE, or --encryption none."
            ),
            (
                ["snapshots", "--repository", "s3://bucket/prefix"],
                "error: repositories like 's3://…' are not supported by this version\nhint: Give the path of a folder."
            ),
            (
                ["backup", "--exclude", "x", "/tmp"],
                "error: a backup of paths needs a repository\nhint: Give --repository FOLDER or set LIFEBOAT_REPOSITORY."
            ),
            (
                ["export", "latest", "-o", "archive.rar", "-r", "/nonexistent"],
                "error: the format of 'archive.rar' is not known\nhint: Add --format tar, tar.zst or zip."
            ),
            (
                ["backup", "--repository", "/nonexistent", "--stack", "UPPER", "/tmp"],
                "error: 'UPPER' cannot be the name of a stack\n"
                    + "hint: Use a-z, 0-9, '.', '_' and '-', starting with a letter or digit."
            ),
        ] as [([String], String)])
    func refusalsNameWhatIsWrong(arguments: [String], expected: String) throws {
        let run = try Self.runner.run(arguments, environment: ["HOME": "/nonexistent"])
        #expect(run.error == expected + "\n")
        #expect(run.output.isEmpty)
        #expect(run.code == .usage)
    }

    @Test func aMissingRepositoryHasItsOwnExitCode() throws {
        let run = try Self.runner.run(["snapshots", "-r", "/nonexistent/r"], environment: ["HOME": "/nonexistent"])
        #expect(run.code == .noRepository)
        #expect(
            run.error == """
                error: there is no repository at '/nonexistent/r'
                hint: Create one with 'lifeboat repository init --repository /nonexistent/r', or correct the path.

                """)
    }

    @Test func withJSONErrorsAreMessagesOnStandardOutput() throws {
        let usage = try Self.runner.run(["ls", "--json"])
        #expect(usage.code == .usage)
        #expect(usage.error.isEmpty)
        #expect(
            usage.output == #"{"causes":[],"exit_code":2,"hint":"See 'lifeboat ls --help'.","#
                + #""message":"missing expected argument '<snapshot>'","message_type":"error"}"# + "\n")
        let absent = try Self.runner.run(
            ["check", "--json", "-r", "/nonexistent"], environment: ["HOME": "/nonexistent"])
        #expect(absent.code == .noRepository)
        #expect(absent.error.isEmpty)
        #expect(absent.output.contains(#""exit_code":10"#))
    }

    @Test func theRepositoryComesFromFlagEnvironmentAndPolicyInThisOrder() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        try AtomicFile.write(
            "stack: demo\nrepository: ./by-policy\nencryption: none\ncomponents: {a: {volume: {path: ./a}}}\n",
            to: "\(folder.path)/lifeboat.yaml")
        let home = ["HOME": folder.path]
        let byPolicy = try Self.runner.run(["snapshots"], environment: home, in: folder.path)
        #expect(byPolicy.error.contains("no repository at '\(folder.path)/by-policy'"))
        let both = home.merging(["LIFEBOAT_REPOSITORY": "by-environment"]) { $1 }
        let byEnvironment = try Self.runner.run(["snapshots"], environment: both, in: folder.path)
        #expect(byEnvironment.error.contains("no repository at '\(folder.path)/by-environment'"))
        let byFlag = try Self.runner.run(["snapshots", "-r", "../flag"], environment: both, in: "\(folder.path)/x")
        #expect(byFlag.error.contains("no repository at '\(folder.path)/flag'"))
    }

    @Test func withoutAnythingItAsksForARepository() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let run = try Self.runner.run(["snapshots"], environment: ["HOME": folder.path], in: folder.path)
        #expect(run.code == .usage)
        #expect(run.error.hasPrefix("error: no repository was named\n"))
        let backup = try Self.runner.run(["backup"], environment: ["HOME": folder.path], in: folder.path)
        #expect(backup.code == .usage)
        #expect(backup.error.hasPrefix("error: there is no policy\n"))
    }

    @Test func brokenPoliciesAreErrorsOfUsage() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        try AtomicFile.write("stack: demo\nrepositry: /r\n", to: "\(folder.path)/p.yaml")
        let run = try Self.runner.run(
            ["backup", "--policy", "p.yaml"], environment: ["HOME": folder.path], in: folder.path)
        #expect(run.code == .usage)
        #expect(run.error.contains("p.yaml:2:1"))
        let missing = try Self.runner.run(
            ["backup", "--policy", "q.yaml"], environment: ["HOME": folder.path], in: folder.path)
        #expect(missing.code == .usage)
        #expect(missing.error.hasPrefix("error: cannot read the policy '\(folder.path)/q.yaml'\n"))
    }
}
