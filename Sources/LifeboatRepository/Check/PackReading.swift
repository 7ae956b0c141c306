// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// Reads packs on several threads and hands each verdict to a body.
struct PackReading: Sendable {
    let repository: Repository
    let threads: Int
    let progress: any ProgressSink
    let cancellation: Cancellation

    /// `names` in this order, `packs` with their sizes for the progress. `body` runs on the reading threads, any number
    /// at once. Gives the bytes read.
    func run(
        _ names: [Digest], _ packs: [Digest: UInt64],
        body: @escaping @Sendable (_ name: Digest, _ verdict: PackExaminer.Verdict) throws -> Void
    ) throws -> UInt64 {
        let bytesTotal = names.reduce(0) { $0 + (packs[$1] ?? 0) }
        let state = Monitor(State())
        let bodies: [(name: String, body: @Sendable () throws -> Void)] = (0..<max(1, threads)).map { number in
            (
                "check-\(number)",
                { @Sendable () throws -> Void in try self.readShare(names, packs, state, bytesTotal, body) }
            )
        }
        let cancellation = cancellation
        try runConcurrently(bodies) { cancellation.cancel() }
        return state.withLock { $0.bytesRead }
    }

    private struct State: Sendable {
        var next = 0
        var bytesRead: UInt64 = 0
    }

    /// The body of one thread: takes the next pack until none is left.
    private func readShare(
        _ names: [Digest], _ packs: [Digest: UInt64], _ state: Monitor<State>, _ bytesTotal: UInt64,
        _ body: @Sendable (_ name: Digest, _ verdict: PackExaminer.Verdict) throws -> Void
    ) throws {
        let examiner = try PackExaminer(repository)
        while true {
            try cancellation.check()
            let position = state.withLock { (state: inout State) -> Int in
                defer { state.next += 1 }
                return state.next
            }
            guard position < names.count else { return }
            let name = names[position]
            try body(name, try examiner.verdict(on: name))
            var counters = ProgressCounters()
            counters.bytesTotal = bytesTotal
            counters.bytesDone = state.withLock { (state: inout State) -> UInt64 in
                state.bytesRead += packs[name] ?? 0
                return state.bytesRead
            }
            progress.report(.counters(counters))
        }
    }
}
