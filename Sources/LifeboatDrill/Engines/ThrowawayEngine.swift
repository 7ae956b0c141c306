// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatServices
import LifeboatStores

/// A server that a drill makes for one component, below the sandbox's folder, and throws away. Blocking; used on the
/// drill's thread.
protocol ThrowawayEngine: AnyObject {
    /// For people: `PostgreSQL 15.18`.
    var subject: String { get }
    /// Makes an empty one; it does not run yet.
    func prepare(_ cancellation: Cancellation) throws
    /// Starts it; it may not answer yet.
    func start() throws
    /// Returns when it answers.
    func awaitReady(_ cancellation: Cancellation) throws
    /// An orderly end. One that does not run is fine.
    func stop() throws
    /// Leaves it running when lifeboat ends.
    func letGo()
    /// Before data of these facts is loaded: throws when it must not be. Returns warnings.
    func check(_ facts: StoreFacts) throws -> [LifeboatError]
}

extension ThrowawayEngine {
    func check(_ facts: StoreFacts) throws -> [LifeboatError] { [] }
}

/// The process of an engine.
final class EngineProcess {
    private let name: String
    private let runner: any ProcessRunner
    private let clock: any Clock
    private var running: (process: any RunningProcess, watcher: BlockingThread<Void>)?
    private let ended = Monitor<ProcessResult?>(nil)

    /// Seconds an engine may take to come up, or to go down.
    private static let startLimit = 300.0
    private static let stopLimit = 60.0

    init(_ name: String, _ runner: any ProcessRunner, _ clock: any Clock) {
        self.name = name
        self.runner = runner
        self.clock = clock
    }

    func start(_ command: ProcessCommand) throws {
        ended.withLock { $0 = nil }
        let process = try runner.start(command, pipesInput: false, pipesOutput: false)
        let ended = ended
        let watcher = BlockingThread<Void>(name: "engine") {
            let result = try process.finish()
            ended.withLock { $0 = result }
        }
        running = (process, watcher)
    }

    /// Whether it was started and has ended by itself.
    var hasEnded: Bool { ended.withLock { $0 != nil } }

    /// Asks until `isReady` says so; what it throws means not yet. Throws when the process ended or takes too long.
    func await(_ cancellation: Cancellation, _ isReady: () throws -> Void) throws {
        let end = clock.monotonicSeconds() + Self.startLimit
        while true {
            try cancellation.check()
            if let result = ended.withLock({ $0 }) {
                throw LifeboatError(
                    "\(name) of the sandbox does not start: \(result.termination)",
                    causes: ProcessResult.lastLines(of: result.standardError))
            }
            do {
                return try isReady()
            } catch {
                guard clock.monotonicSeconds() < end else {
                    throw LifeboatError.converting(error, "\(name) of the sandbox does not answer")
                }
            }
            clock.sleep(seconds: 0.02)
        }
    }

    func stop() throws {
        guard let (process, watcher) = running else { return }
        running = nil
        process.terminate(grace: Self.stopLimit)
        do {
            try watcher.join()
        } catch is ProcessError {
            // Its end was asked for.
        }
    }

    func letGo() { running = nil }

    deinit {
        if let (process, _) = running { process.terminate(grace: 1) }
    }
}

/// Programs of engines on this host.
struct EnginePrograms {
    let path: String
    let runner: any ProcessRunner

    /// A program in the PATH or where Debian keeps servers; nil when there is none.
    func find(_ name: String) -> String? {
        let folders = path.split(separator: ":").map(String.init) + ["/usr/local/sbin", "/usr/sbin", "/usr/local/bin"]
        return folders.map { "\($0)/\(name)" }.first { isExecutable($0) }
    }

    func isExecutable(_ path: String) -> Bool { FileAccess.isExecutable(path) }

    /// The version a program tells: the first word that begins with a digit.
    func version(_ program: String, _ argument: String = "--version") throws -> String? {
        let result = try runner.run(ProcessCommand(program, [argument]), deadline: 60)
        guard result.termination.succeeded else { return nil }
        let text = String(decoding: result.standardOutput, as: UTF8.self)
        return text.split { $0 == " " || $0 == "\n" || $0 == "=" || $0 == "(" || $0 == ")" }.map(String.init)
            .first { ("0"..."9").contains($0.first ?? " ") }
    }
}
