// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRepository
import LifeboatStores

/// Takes all components of a backup to their point in time: what comes before the window, what happens in it.
///
/// | store | before the window | inside |
/// |---|---|---|
/// | any | reached and looked at (`probe`) | its point is fixed, its values for checks are asked |
/// | read live (`isReadLive`) | read whole, as far as it changed since the snapshot before | listed once more; what changed meanwhile is read |
struct Moment: Sendable {
    private let captures: CaptureList
    private let evaluation: CheckEvaluation
    private let reader: ComponentReader
    private let cancellation: Cancellation

    init(
        _ captures: CaptureList, _ evaluation: CheckEvaluation, _ reader: ComponentReader, _ cancellation: Cancellation
    ) {
        self.captures = captures
        self.evaluation = evaluation
        self.reader = reader
        self.cancellation = cancellation
    }

    /// Returns when every component that did not fail has its point, and the writers go on.
    func fix(
        _ hold: WriterHold?, _ clock: any Clock, _ progress: any ProgressSink, _ run: inout Timeline
    ) throws -> FreezeWindow.Outcome {
        try run.phase("look at stores") { try probe() }
        // Without a freeze the moment a live store is read is as good as any other: that is the capture's.
        let live = hold == nil ? [] : captures.indices { $0.input.store.isReadLive && !$0.hasFailed }
        let passes = live.isEmpty ? [:] : try run.phase("read ahead") { try readAhead(live) }
        let window = FreezeWindow(hold: hold, clock: clock, progress: progress, cancellation: cancellation)
        return try run.phase(hold == nil ? "fix point in time" : "freeze") {
            try window.run(tasks(live, passes))
        }
    }

    private func probe() throws {
        try runConcurrently(
            captures.indices { _ in true }.map { index in
                (
                    name: "probe-\(index)",
                    body: { @Sendable () throws -> Void in captures.update(index) { $0.probe(cancellation) } }
                )
            })
        try cancellation.check()
    }

    /// First passes, by index.
    private func readAhead(_ live: [Int]) throws -> [Int: Transfer<ComponentReader.FirstPass>] {
        let passes = Monitor<[Int: Transfer<ComponentReader.FirstPass>]>([:])
        try inLanes(live) { index in
            guard let pass = try reader.firstPass(captures[index].input) else { return }
            passes.withLock { $0[index] = Transfer(pass) }
        }
        return passes.withLock { $0 }
    }

    private func tasks(
        _ live: [Int], _ passes: [Int: Transfer<ComponentReader.FirstPass>]
    ) -> [FreezeWindow.Task] {
        let instant = captures.indices { !$0.hasFailed }.filter { !live.contains($0) }
        var tasks = instant.map { index in
            FreezeWindow.Task(name: "fix-\(index)") { pass in fixInstant(index, pass) }
        }
        let queue = Monitor(live[...])
        for number in 0..<min(BackupEngine.concurrentComponents, live.count) {
            tasks.append(
                FreezeWindow.Task(name: "read-\(number)") { pass in
                    while let index = queue.withLock({ $0.popFirst() }) {
                        try readLive(index, passes[index]?.take(), pass) {
                            if queue.withLock({ $0.isEmpty }) { pass.leave() }
                        }
                    }
                })
        }
        tasks += live.filter { evaluation.components.contains(captures[$0].name) }.map { index in
            FreezeWindow.Task(name: "check-\(index)") { pass in
                let input = captures[index].input
                evaluation.ask(input.name, input.store as? any NumberSource, pass.asking)
            }
        }
        if !evaluation.checks.isEmpty {
            tasks.append(FreezeWindow.Task(name: "check-http") { evaluation.askOthers($0.asking) })
        }
        return tasks
    }

    private func fixInstant(_ index: Int, _ pass: FreezeWindow.Pass) {
        captures.update(index) { $0.fixPoint(cancellation) }
        let capture = captures[index]
        pass.fixed(capture.name)
        // A store that is read live has an answer once it was read; see `BackupEngine.askLive`.
        guard !capture.input.store.isReadLive else { return }
        let source = (capture.point as? any NumberSource) ?? (capture.input.store as? any NumberSource)
        evaluation.ask(capture.name, source, pass.asking)
    }

    /// Reads a component whose point in time is that of the reading, down to the end. `wasRead` is called once.
    private func readLive(
        _ index: Int, _ first: ComponentReader.FirstPass?, _ pass: FreezeWindow.Pass, wasRead: () -> Void
    ) throws {
        var isRead = false
        do {
            try captures.update(index) { capture in
                capture.fixPoint(cancellation)
                let name = capture.name
                try reader.capture(&capture, after: first) {
                    guard !isRead else { return }
                    isRead = true
                    pass.fixed(name)
                    wasRead()
                }
            }
        } catch {
            // The repository failed: nobody shall wait for it.
            reader.writer.stop()
            throw error
        }
    }

    /// Runs `body` for each, as many at once as the engine captures.
    private func inLanes(_ indices: [Int], _ body: @escaping @Sendable (Int) throws -> Void) throws {
        let queue = Monitor(indices[...])
        try runConcurrently(
            (0..<min(BackupEngine.concurrentComponents, indices.count)).map { number in
                (
                    name: "ahead-\(number)",
                    body: { @Sendable () throws -> Void in
                        while let index = queue.withLock({ $0.popFirst() }) { try body(index) }
                    }
                )
            }
        ) { reader.writer.stop() }
    }
}

/// Hands a value from one thread to another: put in once, taken out once.
final class Transfer<Value>: @unchecked Sendable {
    // Sendable: the value is reached under the lock, and whoever took it is the only one that has it.
    private let slot: Monitor<Value?>

    init(_ value: consuming Value) { slot = Monitor(value) }

    func take() -> Value? {
        slot.withLock { slot in
            let value = slot
            slot = nil
            return value
        }
    }
}
