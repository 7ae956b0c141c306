// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Turns events and time into what is shown of them. Pure: no clock, no terminal; `ProgressPrinter` does the rest.
package struct ProgressRenderer: Sendable {
    package enum Style: Sendable, Equatable {
        /// One line that is redrawn, as wide as the terminal.
        case terminal(columns: Int)
        /// A line a minute, for logs.
        case lines
        /// A `status` message a second.
        case json
        /// Warnings only.
        case quiet
    }

    /// Something to print.
    package enum Piece: Sendable, Equatable {
        /// Takes the place of the line that is redrawn.
        case status(String)
        /// The line that is redrawn goes away.
        case clear
        /// A line that stays.
        case line(String)
        case jsonStatus(ProgressStatus)
        case warning(LifeboatError)
    }

    private let style: Style
    private let start: Double
    private var phase: String?
    private var detail: String?
    private var counters = ProgressCounters()
    private var lastDrawn: Double?
    private var isShown = false
    private var rate = RateEstimate()
    private var isFinished = false

    /// `start` is on the clock of all later times, in seconds.
    package init(style: Style, start: Double) {
        self.style = style
        self.start = start
    }

    /// Seconds between two drawings.
    private var interval: Double {
        switch style {
        case .terminal: 0.1
        case .lines: 60
        case .json: 1
        case .quiet: .infinity
        }
    }

    /// What to print after `event` at `time`.
    package mutating func handle(_ event: ProgressEvent, at time: Double) -> [Piece] {
        guard !isFinished else { return afterEnd(event) }
        switch event {
        case .phaseStarted(let name, let detail):
            phase = name
            self.detail = detail
            return draw(at: time, force: isTerminal)
        case .phaseEnded:
            phase = nil
            detail = nil
            return []
        case .counters(let counters):
            self.counters = counters
            rate.add(bytes: counters.bytesDone, at: time)
            return draw(at: time, force: false)
        case .warning(let warning), .incomplete(let warning, _):
            return interrupting(.warning(warning), at: time)
        case .note(let text):
            switch style {
            case .terminal, .lines: return interrupting(.line(EscapedName.line(text)), at: time)
            case .json:
                var status = self.status(at: time)
                status.note = text
                return [.jsonStatus(status)]
            case .quiet: return []
            }
        }
    }

    /// What an operation leaves to be said is told when it is over; `--quiet` leaves it to the exit code.
    private func afterEnd(_ event: ProgressEvent) -> [Piece] {
        switch event {
        case .warning(let warning), .incomplete(let warning, _):
            if case .quiet = style { return [] }
            return [.warning(warning)]
        case .phaseStarted, .phaseEnded, .counters, .note: return []
        }
    }

    /// Called now and then, so that time goes on also when nothing happens.
    package mutating func tick(at time: Double) -> [Piece] { isFinished ? [] : draw(at: time, force: false) }

    /// The operation ended: nothing but warnings is shown from now on.
    package mutating func finish() -> [Piece] {
        isFinished = true
        guard isShown else { return [] }
        isShown = false
        return [.clear]
    }

    private var isTerminal: Bool {
        if case .terminal = style { return true }
        return false
    }

    /// A line that stays, with the redrawn one taken away before it and put back after it.
    private mutating func interrupting(_ piece: Piece, at time: Double) -> [Piece] {
        guard isShown else { return [piece] }
        isShown = false
        return [.clear, piece] + draw(at: time, force: true)
    }

    private mutating func draw(at time: Double, force: Bool) -> [Piece] {
        // The first line of a log comes after a full interval; a terminal shows at once that something happens.
        let due = (lastDrawn ?? (isTerminal ? time - interval : start)) + interval
        guard force || time >= due, style != .quiet else { return [] }
        lastDrawn = time
        switch style {
        case .terminal(let columns):
            isShown = true
            return [.status(terminalLine(at: time, columns: columns))]
        case .lines: return [.line(plainLine(at: time))]
        case .json: return [.jsonStatus(status(at: time))]
        case .quiet: return []
        }
    }

    private func status(at time: Double) -> ProgressStatus {
        var counters = counters
        counters.bytesTotal = bytesTotal
        counters.filesTotal = filesTotal
        return ProgressStatus(
            phase: phase, detail: detail, secondsElapsed: time - start, counters: counters,
            bytesPerSecond: rate.bytesPerSecond, secondsRemaining: secondsRemaining)
    }

    /// What was expected, until more was done than that: then it was wrong.
    private var bytesTotal: UInt64? { counters.bytesTotal.flatMap { $0 < counters.bytesDone ? nil : $0 } }
    private var filesTotal: UInt64? { counters.filesTotal.flatMap { $0 < counters.filesDone ? nil : $0 } }

    private var secondsRemaining: Double? {
        guard let total = bytesTotal, let speed = rate.bytesPerSecond, speed > 0
        else { return nil }
        return Double(total - counters.bytesDone) / speed
    }

    private var fraction: Double? {
        guard let total = bytesTotal, total > 0 else { return nil }
        return Double(counters.bytesDone) / Double(total)
    }

    /// Facts in the order of their weight: the last ones go when the line gets too long.
    private func facts(at time: Double) -> [String] {
        var facts: [String] = []
        if counters.bytesDone > 0 || bytesTotal != nil {
            let done = ByteCount(counters.bytesDone)
            facts.append(bytesTotal.map { "\(done) of \(ByteCount($0))" } ?? "\(done)")
        }
        if let speed = rate.bytesPerSecond { facts.append("\(ByteCount(UInt64(speed)))/s") }
        if let left = secondsRemaining { facts.append("\(DurationText.short(left)) left") }
        if counters.filesDone > 0 || filesTotal != nil {
            let done = grouped(counters.filesDone)
            facts.append(filesTotal.map { "\(done) of \(grouped($0)) files" } ?? "\(done) files")
        }
        if counters.bytesStored > 0 { facts.append("\(ByteCount(counters.bytesStored)) stored") }
        return facts
    }

    private func plainLine(at time: Double) -> String {
        var parts = ["\(phase ?? "working") (\(DurationText.short(time - start)))"]
        if let fraction { parts.append("\(Int(fraction * 100)) %") }
        return EscapedName.line((parts + facts(at: time)).joined(separator: ", "))
    }

    private func terminalLine(at time: Double, columns: Int) -> String {
        // The last column stays free: some terminals wrap when it is written to.
        let width = max(0, columns - 1)
        var line = "\(DurationText.clock(time - start)) \(EscapedName.line(phase ?? "working"))"
        if let detail { line += " \(EscapedName.line(detail))" }
        if let fraction {
            line += " \(bar(fraction, width: 20)) \(Int(fraction * 100)) %"
        }
        line = line.keepingStart(columns: width)
        for fact in facts(at: time) {
            let longer = "\(line)  \(fact)"
            if longer.columnWidth > width { return line }
            line = longer
        }
        if let current = counters.current {
            let room = width - line.columnWidth - 2
            if room >= 12 { line += "  " + EscapedName.line(current).keepingEnd(columns: room) }
        }
        return line
    }

    private func bar(_ fraction: Double, width: Int) -> String {
        let full = Int(fraction * Double(width))
        return "[" + String(repeating: "#", count: full) + String(repeating: "-", count: width - full) + "]"
    }
}

/// Bytes a second over the last seconds: jumps of one file do not show, a change of pace does.
struct RateEstimate: Sendable {
    private var samples: [(time: Double, bytes: UInt64)] = []
    private static let window = 10.0

    mutating func add(bytes: UInt64, at time: Double) {
        if let last = samples.last, time - last.time < 0.25 { return }
        samples.append((time, bytes))
        while samples.count > 2, time - samples[1].time >= Self.window { samples.removeFirst() }
    }

    /// Nil until a second of work was seen.
    var bytesPerSecond: Double? {
        guard let first = samples.first, let last = samples.last, last.time - first.time >= 1,
            last.bytes >= first.bytes
        else { return nil }
        return Double(last.bytes - first.bytes) / (last.time - first.time)
    }
}

/// The `status` line of `--json`.
package struct ProgressStatus: OutputRendering, Equatable {
    package static let messageType = "status"
    package var phase: String?
    package var detail: String?
    package var note: String?
    package var secondsElapsed: Double
    package var filesDone: UInt64
    package var filesTotal: UInt64?
    package var bytesDone: UInt64
    package var bytesTotal: UInt64?
    package var bytesStored: UInt64
    package var bytesPerSecond: Double?
    package var secondsRemaining: Double?
    package var current: String?

    init(
        phase: String?, detail: String?, secondsElapsed: Double, counters: ProgressCounters, bytesPerSecond: Double?,
        secondsRemaining: Double?
    ) {
        self.phase = phase
        self.detail = detail
        self.secondsElapsed = (secondsElapsed * 1000).rounded() / 1000
        filesDone = counters.filesDone
        filesTotal = counters.filesTotal
        bytesDone = counters.bytesDone
        bytesTotal = counters.bytesTotal
        bytesStored = counters.bytesStored
        self.bytesPerSecond = bytesPerSecond?.rounded()
        self.secondsRemaining = secondsRemaining?.rounded()
        current = counters.current
    }

    package var text: String { "" }
}
