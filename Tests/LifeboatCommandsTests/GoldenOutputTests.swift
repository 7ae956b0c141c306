// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// What results look like, as text and as JSON.
struct GoldenOutputTests {
    @Test func resultsAreAsWrittenDown() throws {
        let fixture = try CommandFixture()
        defer { try? fixture.folder.remove() }
        try fixture.makeDocuments()
        // A name that is no UTF-8 and has a newline, a hard link, a symbolic link.
        let odd = Array("\(fixture.path)/docs/".utf8).map { CChar(bitPattern: $0) } + [0x6F, 0x0A, -1, 0]
        let descriptor = open(odd, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        #expect(descriptor >= 0)
        close(descriptor)
        let times = [timespec(tv_sec: 1_700_000_000, tv_nsec: 0), timespec(tv_sec: 1_700_000_000, tv_nsec: 0)]
        #expect(utimensat(AT_FDCWD, odd, times, 0) == 0)
        #expect(link("\(fixture.path)/docs/a.txt", "\(fixture.path)/docs/same") == 0)
        #expect(symlink("a.txt", "\(fixture.path)/docs/to-a") == 0)
        for name in ["docs/to-a", "docs"] { try fixture.setTime(name, seconds: 1_700_000_000) }

        // Facts of files written just before they are read are not trusted, and so not "unchanged" the next time.
        SystemClock().sleep(seconds: 0.1)
        try compare("repository-init", fixture, "repository", "init", "--encryption", "none")
        try compare("backup", fixture, "backup", "docs")
        try fixture.write("changed\n", to: "docs/b.txt")
        #expect(chmod("\(fixture.path)/docs/sub", 0o700) == 0)
        fixture.clock.advance(seconds: 3600)
        try compare("backup-second", fixture, "backup", "docs", "--stack", "files")
        try compare("snapshots", fixture, "snapshots")
        try compare("show", fixture, "show", "latest")
        try compare("ls", fixture, "ls", "latest")
        try compare("ls-long", fixture, "ls", "latest", "-lR")
        try compare("find", fixture, "find", "?.txt")
        try compare("repository-info", fixture, "repository", "info")
        try compare("check", fixture, "check", "--read-data")
        try compare("scrub", fixture, "scrub")
        try compare("repair", fixture, "repair")
        let ids = try fixture.inRepository("snapshots", "--json").output.matches(of: #/"id":"([0-9a-f]{64})"/#)
            .map { String($0.output.1) }
        #expect(ids.count == 2)
        if ids.count == 2 { try compare("diff", fixture, "diff", ids[0], ids[1], "--attributes") }
    }

    /// Compares the text and the JSON form.
    private func compare(_ name: String, _ fixture: CommandFixture, _ arguments: String...) throws {
        let changes = ["repository-init", "backup", "backup-second"].contains(name)
        // What changes the repository is run once, as text.
        for json in changes ? [false] : [false, true] {
            let words = arguments + (json ? ["--json"] : []) + ["-r", fixture.repository]
            let run = try fixture.run(words)
            #expect(run.code == .done, "\(run)")
            let text = fixture.normalized(run.output + run.error)
                .replacing(#/\d+(\.\d)? (B|KiB) stored/#, with: "N stored")
                .replacing(#/"(bytes_stored|pack_bytes|index_bytes|bytes_read)":\d+/#) { "\"\($0.output.1)\":N" }
                .replacing(#/(packs|indexes):( +)(\d+), [0-9.]+ (B|KiB)/#) {
                    "\($0.output.1):\($0.output.2)\($0.output.3), N"
                }
                .replacing(#/manifests \([^)]*\)/#, with: "manifests (N)")
                .replacing(#/all data was read \([^)]*\)/#, with: "all data was read (N)")
                .replacing(#/\d+(\.\d)? (B|KiB)  (yes|NO)/#) { "N  \($0.output.3)" }
                .replacing(
                    #/read:     .*\nnew:      .*\nstored:   .*\n/#, with: "read:     N\nnew:      N\nstored:   N\n"
                )
                .replacing(#/data: .* read, .* new, /#, with: "data: N read, N new, ")
                .replacing(#/(?m)^([-a-z]{10}) +\d+ +\d+ /#) { "\($0.output.1) UID GID " }
                .replacing(#/"bytes_new":\d+/#, with: "\"bytes_new\":N")
                .replacing(#/(>",)"size":\d+(\},"kind":"tree")/#) { "\($0.output.1)\"size\":N\($0.output.2)" }
                .replacing(#/"path_bytes":"[^"]+"/#, with: #""path_bytes":BASE64"#)
                .replacing(#/tree files: .*/#, with: "tree files: …")
            let file = GoldenFile("commands/\(name).\(json ? "json" : "txt")")
            let difference = try file.difference(from: text)
            #expect(difference == nil, "\(difference ?? "")")
        }
    }
}
