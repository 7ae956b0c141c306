// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStores

/// How long a load waited for the repository, and for what. Thread-safe.
final class LoadMeter: Sendable {
    struct Figures {
        /// Seconds that reading, decoding and verifying held the load up.
        var fetch = 0.0
        /// Seconds of building indexes.
        var indexes: Double?
        var indexesEnd = 0.0
        /// What was read of streams, each counted once, however often it was read.
        var bytes: [String: UInt64] = [:]

        var allBytes: UInt64 { bytes.values.clampedSum { $0 } }
    }

    private let state = Monitor(Figures())
    let clock: any Clock

    init(_ clock: any Clock) { self.clock = clock }

    var figures: Figures { state.withLock { $0 } }

    func waited(_ seconds: Double) { state.withLock { $0.fetch += seconds } }

    func read(_ bytes: UInt64, of stream: String) {
        state.withLock { $0.bytes[stream] = max($0.bytes[stream] ?? 0, bytes) }
    }

    func builtIndexes(_ seconds: Double, end: Double) {
        state.withLock {
            $0.indexes = ($0.indexes ?? 0) + seconds
            $0.indexesEnd = end
        }
    }
}

/// The content of a component whose streams tell the meter how long they were waited for.
struct MeteredContent: RestoreContent {
    let content: any RestoreContent
    let meter: LoadMeter

    var engineVersion: String? { content.engineVersion }
    var facts: StoreFacts { content.facts }
    var isPartial: Bool { content.isPartial }

    func openStream(_ name: String) throws -> any ByteSource {
        MeteredSource(try content.openStream(name), name, meter)
    }

    func streamSize(_ name: String) -> UInt64? { content.streamSize(name) }

    func listTree(_ name: String, _ body: (TreeEntry) throws -> Void) throws { try content.listTree(name, body) }

    /// Files are read and written by the same threads: the time of a tree is all fetching and writing at once.
    func extractTree(_ name: String, into target: any FileTreeTarget, cancellation: Cancellation) throws {
        try content.extractTree(name, into: target, cancellation: cancellation)
    }
}

private final class MeteredSource: ByteSource {
    private let source: any ByteSource
    private let name: String
    private let meter: LoadMeter
    private var bytes: UInt64 = 0

    init(_ source: any ByteSource, _ name: String, _ meter: LoadMeter) {
        self.source = source
        self.name = name
        self.meter = meter
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let begin = meter.clock.monotonicSeconds()
        defer { meter.waited(meter.clock.monotonicSeconds() - begin) }
        let count = try source.read(into: buffer)
        bytes += UInt64(count)
        meter.read(bytes, of: name)
        return count
    }

    func close() { source.close() }
}

/// Passes on what a store tells, and hears when indexes were built.
struct LoadProgress: ProgressSink {
    let sink: any ProgressSink
    let meter: LoadMeter
    let timelineStart: Double

    func report(_ event: ProgressEvent) {
        if case .phaseEnded(name: "indexes", let seconds) = event {
            meter.builtIndexes(seconds, end: meter.clock.monotonicSeconds() - timelineStart)
        }
        switch event {
        // The drill's own phase goes on.
        case .phaseStarted, .phaseEnded: break
        default: sink.report(event)
        }
    }
}
