// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRepository
import LifeboatStores

/// The components of a backup, shared by the threads that work on them. Thread-safe; an element belongs to one thread
/// at a time.
final class CaptureList: Sendable {
    private let captures: [Monitor<ComponentCapture>]

    init(_ components: [BackupComponent]) { captures = components.map { Monitor(ComponentCapture($0)) } }

    /// As they are now, in the order of the policy.
    var all: [ComponentCapture] { captures.indices.map { self[$0] } }

    func indices(where isMeant: (ComponentCapture) -> Bool) -> [Int] {
        captures.indices.filter { isMeant(self[$0]) }
    }

    subscript(index: Int) -> ComponentCapture { captures[index].withLock { $0 } }

    /// `body` works on a copy, which is then put back: it may block.
    func update<Failure: Error>(
        _ index: Int, _ body: (inout ComponentCapture) throws(Failure) -> Void
    ) throws(Failure) {
        var capture = self[index]
        try body(&capture)
        captures[index].withLock { $0 = capture }
    }

    /// Compares every captured component with its last complete state.
    func compare(_ shrinkGuard: ShrinkGuard, _ snapshots: [Snapshot], stack: String, host: String) {
        for index in captures.indices {
            update(index) { $0.compare(shrinkGuard, snapshots, stack: stack, host: host) }
        }
    }

    /// Lets all points go.
    func release() {
        for capture in all { capture.point?.release() }
    }

    /// Captures every component that has a point and was not captured, a few at once. Throws only what ends the whole
    /// backup.
    func captureAll(_ reader: ComponentReader) throws {
        let queue = Monitor(indices { !$0.isCaptured }[...])
        try runConcurrently(
            (0..<min(BackupEngine.concurrentComponents, captures.count)).map { number in
                (
                    name: "capture-\(number)",
                    body: { @Sendable () throws -> Void in
                        while let index = queue.withLock({ $0.popFirst() }) {
                            try self.update(index) { try reader.capture(&$0) }
                        }
                    }
                )
            }
        ) { reader.writer.stop() }
    }
}
