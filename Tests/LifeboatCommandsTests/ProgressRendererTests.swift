// SPDX-License-Identifier: Apache-2.0

import LifeboatCommands
import LifeboatCore
import Testing

struct ProgressRendererTests {
    private func counters(
        files: UInt64 = 0, of total: UInt64? = nil, bytes: UInt64 = 0, ofBytes: UInt64? = nil, stored: UInt64 = 0,
        current: String? = nil
    ) -> ProgressEvent {
        var counters = ProgressCounters()
        counters.filesDone = files
        counters.filesTotal = total
        counters.bytesDone = bytes
        counters.bytesTotal = ofBytes
        counters.bytesStored = stored
        counters.current = current
        return .counters(counters)
    }

    @Test func aTerminalShowsBarRateAndTimeLeft() {
        var renderer = ProgressRenderer(style: .terminal(columns: 120), start: 100)
        _ = renderer.handle(.phaseStarted(name: "restore", detail: nil), at: 100)
        _ = renderer.handle(counters(bytes: 0, ofBytes: 400 << 20), at: 100)
        let pieces = renderer.handle(
            counters(files: 1200, of: 4000, bytes: 100 << 20, ofBytes: 400 << 20), at: 110)
        #expect(
            pieces == [
                .status(
                    "0:10 restore [#####---------------] 25 %  100.0 MiB of 400.0 MiB  10.0 MiB/s  30 s left  "
                        + "1,200 of 4,000 files")
            ])
    }

    @Test func aNarrowTerminalDropsTheLeastImportantFacts() {
        var renderer = ProgressRenderer(style: .terminal(columns: 40), start: 0)
        let pieces = renderer.handle(
            counters(files: 12, bytes: 3 << 20, stored: 1 << 20, current: "/srv/a/very/long/path"), at: 1)
        #expect(pieces == [.status("0:01 working  3.0 MiB  12 files")])
    }

    @Test func theNameAtWorkFillsTheRestAndKeepsItsEnd() {
        var renderer = ProgressRenderer(style: .terminal(columns: 50), start: 0)
        let pieces = renderer.handle(
            counters(bytes: 3 << 20, current: "/srv/a/very/long/\u{1B}path/to/file.txt"), at: 1)
        guard case .status(let line)? = pieces.first else {
            Issue.record("no status")
            return
        }
        #expect(line == "0:01 working  3.0 MiB  …long/\\033path/to/file.txt")
        #expect(line.columnWidth <= 49)
    }

    @Test func aTerminalIsRedrawnAtMostTenTimesASecond() {
        var renderer = ProgressRenderer(style: .terminal(columns: 80), start: 0)
        var drawings = 0
        for step in 0..<1000 {
            drawings += renderer.handle(counters(bytes: UInt64(step)), at: Double(step) / 1000).count
        }
        #expect((9...11).contains(drawings))
    }

    @Test func aLogGetsALineAMinute() {
        var renderer = ProgressRenderer(style: .lines, start: 0)
        _ = renderer.handle(.phaseStarted(name: "capture", detail: nil), at: 0)
        var lines: [ProgressRenderer.Piece] = []
        for second in 1...150 {
            lines += renderer.handle(counters(files: UInt64(second), bytes: UInt64(second) << 20), at: Double(second))
        }
        #expect(
            lines == [
                .line("capture (1 min), 60.0 MiB, 1.0 MiB/s, 60 files"),
                .line("capture (2 min), 120.0 MiB, 1.0 MiB/s, 120 files"),
            ])
        #expect(renderer.finish().isEmpty)
    }

    @Test func timeGoesOnWhileNothingIsReported() {
        var renderer = ProgressRenderer(style: .lines, start: 0)
        _ = renderer.handle(.phaseStarted(name: "fix point in time", detail: nil), at: 0)
        #expect(renderer.tick(at: 59).isEmpty)
        #expect(renderer.tick(at: 61) == [.line("fix point in time (1 min 1 s)")])
        #expect(renderer.tick(at: 90).isEmpty)
    }

    @Test func warningsTakeTheProgressLineAwayAndPutItBack() {
        var renderer = ProgressRenderer(style: .terminal(columns: 80), start: 0)
        _ = renderer.handle(counters(bytes: 1 << 20), at: 0)
        let warning = LifeboatError("something odd")
        let pieces = renderer.handle(.warning(warning), at: 1)
        #expect(pieces == [.clear, .warning(warning), .status("0:01 working  1.0 MiB")])
        #expect(renderer.finish() == [.clear])
        #expect(renderer.handle(counters(bytes: 2), at: 9).isEmpty)
        #expect(renderer.finish().isEmpty)
    }

    @Test func quietShowsWarningsOnly() {
        var renderer = ProgressRenderer(style: .quiet, start: 0)
        #expect(renderer.handle(.phaseStarted(name: "x", detail: nil), at: 0).isEmpty)
        #expect(renderer.handle(counters(bytes: 1), at: 1000).isEmpty)
        #expect(renderer.handle(.note("hello"), at: 1001).isEmpty)
        #expect(renderer.handle(.warning(LifeboatError("w")), at: 1002) == [.warning(LifeboatError("w"))])
    }

    @Test func jsonGetsAStatusASecond() {
        var renderer = ProgressRenderer(style: .json, start: 0)
        var count = 0
        for step in 0..<500 { count += renderer.handle(counters(bytes: UInt64(step)), at: Double(step) / 100).count }
        #expect(count == 4)
    }

    @Test func theRateFollowsTheLastSeconds() {
        var renderer = ProgressRenderer(style: .lines, start: 0)
        // Ten minutes of nothing, then 10 MiB a second: the wait must not dilute the rate for long.
        for second in 0..<600 { _ = renderer.handle(counters(bytes: 0), at: Double(second)) }
        var last: [ProgressRenderer.Piece] = []
        for second in 600..<660 {
            let pieces = renderer.handle(counters(bytes: UInt64(second - 599) * 10 << 20), at: Double(second))
            if !pieces.isEmpty { last = pieces }
        }
        last = renderer.tick(at: 720)
        #expect(last == [.line("working (12 min), 600.0 MiB, 10.0 MiB/s")])
    }
}
