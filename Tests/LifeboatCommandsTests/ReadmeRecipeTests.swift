// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// The steps of a repository's README.txt, followed word by word: no lifeboat, only programs that Debian packages.
@Suite(.serialized) struct ReadmeRecipeTests {
    /// 50,000 small documents, hard links, a file with holes, odd names, attributes, and a dump of three nights.
    private static let source = #"""
        use strict; use warnings;
        srand 7;
        mkdir "docs" or die;
        for my $folder (0 .. 499) {
            mkdir "docs/$folder" or die;
            for my $file (0 .. 99) {
                open my $out, '>', "docs/$folder/$file.txt" or die;
                print $out "document $file of directory $folder\n" x (1 + $file % 5);
                close $out or die;
            }
        }
        open my $out, '>', 'docs/sparse' or die;
        seek $out, 3_000_000, 0; print $out 'island' x 30_000; truncate $out, 64_000_000; close $out or die;
        open $out, '>', "docs/0/odd \xef\\name,=#\n" or die; close $out;
        open $out, '>', 'docs/large' or die;
        print $out pack 'N*', map { int rand 2 ** 32 } 1 .. 1_500_000; close $out or die;
        link 'docs/large', 'docs/1/large again' or die;
        link 'docs/0/1.txt', 'docs/zz' or die;
        symlink '../nowhere', 'docs/link' or die;
        link 'docs/link', 'docs/link again' or die;
        system 'mkfifo', 'docs/pipe';
        system 'setfattr', '-n', 'user.note', '-v', "a,=b c\n", "docs/0/odd \xef\\name,=#\n" and die;
        chmod 02750, 'docs/2'; chmod 0400, 'docs/3/1.txt';
        """#

    /// Rows of text; each night some of them change.
    private static let dump = #"""
        use strict; use warnings;
        srand 11;
        my @rows = map { "$_ " . join(' ', map { int rand 60000 } 1 .. 25) . "\n" } 1 .. 40_000;
        srand 100 + $ARGV[0];
        $rows[rand @rows] = 'changed ' . rand() . "\n" for 1 .. 400 * $ARGV[0];
        open my $out, '>', 'rows.sql' or die; print $out @rows; close $out or die;
        """#

    private static func bash(_ script: String, in folder: String) throws -> ProcessResult {
        try SystemProcessRunner().run(
            ProcessCommand(
                "env", ["-i", "PATH=/usr/bin:/bin", "bash", "-euo", "pipefail", "-c", script],
                workingDirectory: folder),
            input: [], outputLimit: 1 << 22, deadline: 300, cancellation: nil)
    }

    /// The commands of section A of the README.txt of this repository, with the paths of the test in its assignments.
    private static func steps(_ readme: String, _ values: [String: String]) throws -> [String] {
        let section = try #require(readme.split(separator: "  B. WHAT IS IN HERE").first)
        return section.split(separator: "\n").filter { $0.hasPrefix("    ") }.map { line in
            let command = line.drop { $0 == " " }
            guard let equals = command.firstIndex(of: "="), let value = values[String(command[..<equals])] else {
                return String(command)
            }
            return "\(command[..<equals])='\(value)'"
        }
    }

    private static func repository(encrypted: Bool) throws -> CommandFixture {
        // Half a million small files in all: in memory.
        let fixture = try CommandFixture(.binary, inMemory: true)
        try fixture.write(source, to: "source.pl")
        try fixture.write(dump, to: "dump.pl")
        _ = try ShellProof.run("cd '\(fixture.path)' && perl source.pl")
        var key = ["--encryption", "none"]
        var encryption = "none"
        if encrypted {
            let made = try fixture.run("key", "generate", "identity.txt")
            let recipient = try #require(made.output.firstMatch(of: #/age1[0-9a-z]+/#)).output
            key = ["--recipient", String(recipient)]
            encryption = "{recipients: [\(recipient)]}"
        }
        try fixture.write(
            """
            stack: shop
            repository: ./repository
            encryption: \(encryption)
            components:
              documents: {volume: {path: ./docs}}
              rows: {command: {capture: [cat, rows.sql], restore: [cat]}}

            """, to: "lifeboat.yaml")
        let created = try fixture.run(["repository", "init", "-r", fixture.repository] + key)
        #expect(created.exit == 0, "\(created)")
        for night in 1...3 {
            _ = try ShellProof.run("cd '\(fixture.path)' && perl dump.pl \(night)")
            let backup = try fixture.run(["backup"] + (encrypted ? ["--identity", "identity.txt"] : []))
            #expect(backup.exit == 0, "\(backup)")
        }
        return fixture
    }

    @Test("README.txt brings back 50,000 chunks", arguments: [false, true])
    func everythingBack(encrypted: Bool) throws {
        let fixture = try Self.repository(encrypted: encrypted)
        defer { try? fixture.folder.remove() }
        // By the time of the file: on a fast machine several are of one second, which is all that names tell.
        let snapshot = try ShellProof.run(
            "ls -t \(fixture.repository)/snapshots/*/*.json* | grep -v minisig | head -1 | tr -d '\\n'")
        let steps = try Self.steps(
            try fixture.text("repository/README.txt"),
            [
                "REPOSITORY": fixture.repository, "WORK": "\(fixture.path)/work", "TARGET": "\(fixture.path)/target",
                "IDENTITY": encrypted ? "\(fixture.path)/identity.txt" : "", "SNAPSHOT": snapshot,
            ])
        #expect(steps.count == 11)
        let commands = steps.filter { !$0.hasPrefix("apt ") && !$0.contains(" content ID DEPTH ") }
        let run = try Self.bash(commands.joined(separator: "\n"), in: fixture.path)
        let output = String(decoding: run.standardOutput, as: UTF8.self)
        #expect(run.termination == .exited(0), "\(output)\n\(run.standardError)")
        let chunks = try #require(output.firstMatch(of: #/UNPACK PASSED: (\d+) chunks/#)).output.1
        #expect(Int(chunks) ?? 0 > 50_000)
        let patches = try #require(output.firstMatch(of: #/patches: (\d+)/#)).output.1
        #expect(Int(patches) ?? 0 > 3)
        #expect(output.contains("RESTORE PASSED: "))

        // All of it: content, and what kind, modes, owners, sizes, links and times are.
        let compared = try Self.bash(
            #"""
            tree=$(dirname target/documents/*/sparse)
            cmp rows.sql target/rows/*
            diff -r --no-dereference --exclude=pipe docs "$tree"
            facts() {
                (cd "$1" && find . \( -type d -printf '%p %y %m %U %G\n' \
                    -o -printf '%p %y %m %U %G %s %n %l\n' \) | sort)
            }
            times() { (cd "$1" && find . ! -type l -printf '%p %TY-%Tm-%Td %TH:%TM:%.2TS\n' | sort); }
            diff <(times docs) <(times "$tree")
            diff <(facts docs) <(facts "$tree")
            test "$(stat -c %i "$tree/large")" = "$(stat -c %i "$tree/1/large again")"
            test "$(stat -c %b "$tree/sparse")" -lt 1000
            diff <(cd docs && getfattr -hRd . | sort) <(cd "$tree" && getfattr -hRd . | sort)
            (cd docs && getfattr -hRd .) | grep user.note > attribute
            """#, in: fixture.path)
        #expect(
            compared.termination == .exited(0),
            "\(String(decoding: compared.standardOutput.prefix(2000), as: UTF8.self))\n\(compared.standardError)")

        // One content by hand: the dump.
        let open = encrypted ? "age -d -i identity.txt" : "cat"
        let content = try #require(steps.first { $0.contains(" content ID DEPTH ") })
            .replacing("$REPOSITORY", with: fixture.repository).replacing("$WORK", with: "\(fixture.path)/work")
            .replacing("ID DEPTH", with: "$id $depth").replacing("> FILE", with: "> content")
        let single = try Self.bash(
            """
            query='.components[].parts[] | select(.kind == "stream") | "\\(.content.id) \\(.content.depth)"'
            read -r id depth < <(\(open) '\(snapshot)' | jq -r "$query")
            \(content)
            cmp content rows.sql
            ! perl -x repository/README.txt content $id '' work 2> message
            grep -q 'depth of a content' message
            """, in: fixture.path)
        #expect(single.termination == .exited(0), "\(single.standardError)")
    }

    @Test("README.txt reports damage in its last lines, and brings back what the damage does not touch")
    func damage() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        #expect(try fixture.inRepository("repository", "init", "--encryption", "none").exit == 0)
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        // Data that does not compress, so that the middle of its pack is the data itself.
        _ = try ShellProof.run(
            "perl -e 'srand 3; print pack q(N*), map { int rand 2**32 } 1 .. 1_500_000' > '\(fixture.path)/docs/later'")
        fixture.clock.advance(seconds: 60)
        #expect(try fixture.inRepository("backup", "docs").exit == 0)
        let steps = try Self.steps(
            try fixture.text("repository/README.txt"),
            [
                "REPOSITORY": fixture.repository, "WORK": "\(fixture.path)/work", "TARGET": "\(fixture.path)/target",
                "SNAPSHOT": "",
            ])
        let unpack = try #require(steps.first { $0.contains(" unpack ") })
        let restore = try #require(steps.first { $0.contains(" restore ") })
        let assignments = steps.prefix { !$0.contains(" unpack ") }.filter { !$0.hasPrefix("apt ") }
        let run = try Self.bash(
            """
            \(assignments.joined(separator: "\n"))
            SNAPSHOT=$(ls repository/snapshots/*/*.json | tail -1)
            \(unpack) > sound; grep -q '^UNPACK PASSED' <(tail -1 sound)
            pack=$(ls -S repository/packs/*/*.zst | head -1)
            printf 'damage' | dd of="$pack" bs=1 seek=3000000 conv=notrunc status=none
            rm -r work
            if \(unpack) > damaged 2>&1; then exit 3; fi
            grep -q '^UNPACK FAILED: ' <(tail -1 damaged)
            if \(restore) > restored 2>&1; then exit 4; fi
            grep -Eq "^PROBLEM: '.*/later': chunk [0-9a-f]{64} is missing" restored
            grep -q '^RESTORE FAILED: ' <(tail -1 restored)
            find target -name a.txt -exec cat {} +
            """, in: fixture.path)
        #expect(run.termination == .exited(0), "\(run.standardError)")
        #expect(String(decoding: run.standardOutput, as: UTF8.self) == "first\n")
    }

    @Test("the help text of an earlier lifeboat is no damage, and repair renews it")
    func earlierText() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        #expect(try fixture.inRepository("repository", "init", "--encryption", "none").exit == 0)
        let present = try fixture.text("repository/README.txt")
        let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
        let earlier = String(decoding: try TextFile.read("\(root)/fixtures/readme/text-1.txt"), as: UTF8.self)
        try fixture.write(earlier, to: "repository/README.txt")
        let check = try fixture.inRepository("check")
        #expect(check.exit == 0, "\(check)")
        #expect("\(check)".contains("note: 'README.txt' is the help text of an earlier lifeboat"), "\(check)")
        #expect(try fixture.inRepository("repair", "--yes").exit == 0)
        #expect(try fixture.text("repository/README.txt") == present)
        try fixture.write(present.replacing("perl -x", with: "sh"), to: "repository/README.txt")
        #expect(try fixture.inRepository("check").exit == 13)
    }
}
