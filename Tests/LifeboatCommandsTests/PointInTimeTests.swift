// SPDX-License-Identifier: Apache-2.0

import LifeboatCommands
import LifeboatCore
import LifeboatTesting
import Testing

/// `--at`: local times, offsets and dates.
struct PointInTimeTests {
    @Test func `times are local unless they have an offset, and a date is the end of its day`() throws {
        // Snapshots at 02:00 and 04:00 UTC of 21 November: 23:00 of the 20th and 01:00 of the 21st three hours west.
        let fixture = try CommandFixture()
        _ = try fixture.inRepository("repository", "init", "--encryption", "none")
        for name in ["first", "second"] {
            try fixture.write("\(name)\n", to: "docs/a.txt")
            let backup = try fixture.inRepository("backup", "docs")
            #expect(backup.exit == 0, "\(backup)")
            fixture.clock.advance(seconds: 7200)
        }
        let cases = [
            ("2026-11-20", "XXX3", "first"), ("2026-11-21", "XXX3", "second"), ("2026-11-21", "UTC0", "second"),
            ("2026-11-20 23:30", "XXX3", "first"), ("2026-11-21 01:00", "XXX3", "second"),
            ("2026-11-21 03:59:59", "UTC0", "first"), ("2026-11-21T04:00:00Z", "XXX3", "second"),
            ("2026-11-21T05:59:00+02:00", "XXX3", "first"), ("2026-11-20T22:00:00-03:00", "UTC0", ""),
            ("2026-11-20", "UTC0", ""),
        ]
        for (number, (time, zone, content)) in cases.enumerated() {
            let run = try fixture.runner.run(
                ["restore", "--at", time, "--stack", "files", "--to", "out-\(number)", "-r", fixture.repository],
                environment: fixture.environment.merging(["TZ": zone]) { $1 }, input: "",
                workingDirectory: fixture.path)
            if content.isEmpty {
                #expect(run.exit == 1 && !fixture.exists("out-\(number)"), "\(time) \(zone): \(run)")
            } else {
                #expect(run.exit == 0, "\(time) \(zone): \(run)")
                let restored = try fixture.text("out-\(number)\(fixture.path)/docs/a.txt")
                #expect(restored == "\(content)\n", "\(time) \(zone)")
            }
        }
    }
}
