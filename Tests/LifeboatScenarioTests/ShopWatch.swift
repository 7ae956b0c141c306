// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting

/// The api of the shop as somebody sees it who asks it from outside, every 15 ms and by a clock of its own, while
/// something is done to the stack.
struct ShopWatch {
    let run: LifeboatRun
    /// When it was begun, in seconds of the host's monotonic clock.
    let begin: Double
    /// When the api began to answer well, or ceased to; the first is what it did before.
    let changes: [(time: Double, isUp: Bool)]

    init(_ stack: ShopStack, _ body: () throws -> LifeboatRun) throws {
        let report = "\(stack.folder.path)/watched"
        unlink(report)
        let words = stack.daemon.networkWords + ["python3", "-c", Self.script, report]
        let watcher = try SystemProcessRunner(grace: 1).start(
            ProcessCommand(words[0], Array(words.dropFirst())), pipesInput: false, pipesOutput: false)
        defer { watcher.terminate(grace: 0) }
        func lines() throws -> [Substring] {
            guard access(report, F_OK) == 0 else { return [] }
            return try stack.folder.shell("cat '\(report)'").split(separator: "\n")
        }
        for _ in 0..<3000 where try lines().isEmpty { usleep(20_000) }
        begin = Self.now()
        run = try body()
        // What it saw last is written: after the command has ended the api answers.
        for _ in 0..<500 {
            if try lines().last?.hasSuffix(" 1") == true { break }
            usleep(20_000)
        }
        changes = try lines().compactMap { line in
            let words = line.split(separator: " ")
            return words.count == 2 ? Double(words[0]).map { ($0, words[1] == "1") } : nil
        }
    }

    private static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static let script = """
        import sys, time, urllib.request
        was = None
        with open(sys.argv[1], "w", buffering=1) as out:
            while True:
                begin = time.clock_gettime(time.CLOCK_MONOTONIC)
                try:
                    up = urllib.request.urlopen("http://127.0.0.1:8080/health", timeout=5).status == 200
                except Exception:
                    up = False
                if up != was:
                    print(time.clock_gettime(time.CLOCK_MONOTONIC) if up else begin, int(up), file=out)
                    was = up
                time.sleep(0.015)
        """
}
