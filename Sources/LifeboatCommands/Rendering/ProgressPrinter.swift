// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

/// The progress channel of a command: takes events from any thread, prints what the renderer makes of them.
///
/// A stream that cannot be written to is left alone from then on: no backup ends because nobody watches it.
package final class ProgressPrinter: ProgressSink {
    private struct State {
        var renderer: ProgressRenderer
        var isBroken = false
        var hasTicker = false
        var isFinished = false
    }

    private let state: Monitor<State>
    private let printsJSON: Bool
    private let clock: any Clock
    private let stream: any OutputStream
    private let jsonStream: any OutputStream
    /// Kept for the summary: they scrolled by long ago.
    private let warnings = Monitor(0)

    /// `stream` takes text, `jsonStream` JSON lines.
    package init(
        style: ProgressRenderer.Style, printsJSON: Bool, clock: any Clock, stream: any OutputStream,
        jsonStream: any OutputStream
    ) {
        self.printsJSON = printsJSON
        self.clock = clock
        self.stream = stream
        self.jsonStream = jsonStream
        state = Monitor(State(renderer: ProgressRenderer(style: style, start: clock.monotonicSeconds())))
    }

    package func report(_ event: ProgressEvent) {
        switch event {
        case .warning, .incomplete: warnings.withLock { $0 += 1 }
        case .phaseStarted, .phaseEnded, .counters, .note: break
        }
        let time = clock.monotonicSeconds()
        state.withLock { state in
            let pieces = state.renderer.handle(event, at: time)
            print(pieces, &state)
            if !state.hasTicker, !state.isFinished {
                state.hasTicker = true
                startTicker()
            }
        }
    }

    /// Warnings so far.
    package var warningCount: Int { warnings.withLock { $0 } }

    /// Takes the progress line away; of events that still come only warnings are shown. Idempotent.
    package func finish() {
        state.withLock { state in
            state.isFinished = true
            let pieces = state.renderer.finish()
            print(pieces, &state)
        }
    }

    /// Moves the clock of the display while nothing is reported; ends by itself after `finish`.
    private func startTicker() {
        _ = BlockingThread<Void>(name: "progress", stackSize: 256 << 10) { [weak self] in
            while true {
                // Real time, whatever clock the times that are shown come from.
                SystemClock().sleep(seconds: 0.5)
                guard let self, self.tick() else { return }
            }
        }
    }

    private func tick() -> Bool {
        let time = clock.monotonicSeconds()
        return state.withLock { state in
            guard !state.isFinished else { return false }
            let pieces = state.renderer.tick(at: time)
            print(pieces, &state)
            return true
        }
    }

    private func print(_ pieces: [ProgressRenderer.Piece], _ state: inout State) {
        guard !state.isBroken, !pieces.isEmpty else { return }
        var text = ""
        var json: [UInt8] = []
        do {
            for piece in pieces {
                switch piece {
                case .status(let line): text += "\r\(line)\u{1B}[K"
                case .clear: text += "\r\u{1B}[K"
                case .line(let line): text += "\(line)\n"
                case .warning(let warning) where printsJSON: json += try JSONLine.encode(warning: warning) + [0x0A]
                case .warning(let warning):
                    text += ErrorText.render(warning, severity: "warning") + "\n"
                case .jsonStatus(let status): json += try JSONLine.encode(status) + [0x0A]
                }
            }
            if !text.isEmpty { try stream.write(text) }
            if !json.isEmpty { try jsonStream.write(json) }
        } catch {
            state.isBroken = true
        }
    }
}
