// SPDX-License-Identifier: Apache-2.0

/// What the library tells about running work. The command layer alone decides what is printed, where and how often.
package enum ProgressEvent: Sendable, Equatable {
    /// A named phase of an operation begins: `capture`, `stage`, `swap`, `start`, `verify` …
    case phaseStarted(name: String, detail: String?)
    /// The phase of that name ended after so many seconds.
    case phaseEnded(name: String, seconds: Double)
    /// Totals so far; sent often, from any thread.
    case counters(ProgressCounters)
    /// Something the user should know that does not end the operation. Counted into the summary.
    case warning(LifeboatError)
    /// A warning about something that a restore was to bring back and could not: its outcome is incomplete.
    /// `needsNetwork`: because another server did not answer, which no sandbox of a drill can reach.
    case incomplete(LifeboatError, needsNetwork: Bool = false)
    /// A one-line remark (`service 'api' is healthy after 3 probes`).
    case note(String)
}

/// Running totals of one operation.
package struct ProgressCounters: Sendable, Equatable {
    package var filesDone: UInt64 = 0
    package var filesTotal: UInt64?
    package var bytesDone: UInt64 = 0
    /// Nil while unknown.
    package var bytesTotal: UInt64?
    /// Bytes that went into new packs, compressed.
    package var bytesStored: UInt64 = 0
    /// The path, table or object at work right now.
    package var current: String?

    package init() {}
}

/// The one channel for progress. Implementations are thread-safe and return quickly.
package protocol ProgressSink: Sendable {
    func report(_ event: ProgressEvent)
}

/// Drops everything.
package struct SilentProgress: ProgressSink {
    package init() {}
    package func report(_ event: ProgressEvent) {}
}
