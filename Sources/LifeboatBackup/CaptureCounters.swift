// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRepository
import Synchronization

/// Progress of a backup, counted by all capture threads and reported now and then.
final class CaptureCounters: Sendable {
    private let files = Atomic<UInt64>(0)
    private let bytes = Atomic<UInt64>(0)
    private let nextReport = Atomic<UInt64>(0)
    private let progress: any ProgressSink
    private let writer: RepositoryWriter

    /// Bytes and files between two reports: often enough for a bar, seldom enough to cost nothing.
    private static let reportBytes: UInt64 = 16 << 20
    private static let reportFiles: UInt64 = 2048

    init(_ progress: any ProgressSink, _ writer: RepositoryWriter) {
        self.progress = progress
        self.writer = writer
    }

    /// One more file; `bytes` of it were not read (an unchanged file).
    func countFile(bytes count: UInt64) {
        let files = files.add(1, ordering: .relaxed).newValue
        let bytes = bytes.add(count, ordering: .relaxed).newValue
        report(files, bytes)
    }

    /// Bytes of a file or stream that were read.
    func countBytes(_ count: Int) {
        let bytes = bytes.add(UInt64(count), ordering: .relaxed).newValue
        report(files.load(ordering: .relaxed), bytes)
    }

    private func report(_ files: UInt64, _ bytes: UInt64) {
        let step = files / Self.reportFiles + bytes / Self.reportBytes
        let due = nextReport.load(ordering: .relaxed)
        guard step >= due,
            nextReport.compareExchange(expected: due, desired: step + 1, ordering: .relaxed).exchanged
        else { return }
        var counters = ProgressCounters()
        counters.filesDone = files
        counters.bytesDone = bytes
        counters.bytesStored = writer.totals.bytesStored
        progress.report(.counters(counters))
    }
}
