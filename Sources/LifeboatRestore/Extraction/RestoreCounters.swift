// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import Synchronization

/// Running totals of a restore over all its components, told to the progress channel. Thread-safe.
package final class RestoreCounters: Sendable {
    private let progress: any ProgressSink
    private let filesTotal: UInt64?
    private let bytesTotal: UInt64?
    private let files = Atomic<UInt64>(0)
    private let bytes = Atomic<UInt64>(0)

    /// The totals come from the manifest; nil when unknown.
    package init(_ progress: any ProgressSink, filesTotal: UInt64?, bytesTotal: UInt64?) {
        self.progress = progress
        self.filesTotal = filesTotal
        self.bytesTotal = bytesTotal
    }

    /// Tells of something that does not end the restore.
    package func warn(_ warning: LifeboatError) { progress.report(.warning(warning)) }

    /// Counts and tells. Called once per batch of small files or run of chunks, not per file.
    package func add(files fileCount: UInt64, bytes byteCount: UInt64, current: @autoclosure () -> String?) {
        var counters = ProgressCounters()
        counters.filesDone = files.add(fileCount, ordering: .relaxed).newValue
        counters.bytesDone = bytes.add(byteCount, ordering: .relaxed).newValue
        counters.filesTotal = filesTotal
        counters.bytesTotal = bytesTotal
        counters.current = current()
        progress.report(.counters(counters))
    }
}
