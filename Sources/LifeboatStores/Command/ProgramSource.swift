// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// Standard output of a program: the read that would give 0 throws unless the program ended with exit status 0 and gave
/// as many bytes as it had to. `close` may come from any thread.
final class ProgramSource: ByteSource {
    private let process: any RunningProcess
    private let program: String
    private let subject: String
    private let minimum: UInt64
    /// What must not be repeated of what the program says.
    private let secrets: [Secret]
    private var count: UInt64 = 0
    private var isDone = false
    private let isEnded = Monitor(false)

    init(
        _ process: any RunningProcess, program: String, _ subject: String, minimum: UInt64 = 0, secrets: [Secret] = []
    ) {
        self.process = process
        self.program = program
        self.subject = subject
        self.minimum = minimum
        self.secrets = secrets
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if isDone || buffer.isEmpty { return 0 }
        let read = try process.read(into: buffer)
        if read > 0 {
            count += UInt64(read)
            return read
        }
        let result = try process.finish()
        isEnded.withLock { $0 = true }
        guard result.termination.succeeded else {
            throw LifeboatError(
                subject,
                causes: ["\(program): \(result.termination)"] + ProgramText.lines(result.standardError, secrets))
        }
        guard count >= minimum else {
            throw LifeboatError(
                subject, causes: ["\(program) gave \(ByteCount(count)), the least is \(ByteCount(minimum))"],
                hint: "Run it by hand and look at what it says, or correct 'minimum' in the policy.")
        }
        isDone = true
        return 0
    }

    func close() {
        let wasEnded = isEnded.withLock { isEnded -> Bool in
            defer { isEnded = true }
            return isEnded
        }
        if !wasEnded { process.terminate(grace: 2) }
    }
}

/// What a program says, as causes of an error.
enum ProgramText {
    /// The last lines, with every secret the program was given blotted out.
    static func lines(_ text: String, _ secrets: [Secret]) -> [String] {
        var text = text
        for secret in secrets {
            secret.reveal { plain in
                if !plain.isEmpty { text = text.replacing(plain, with: "<secret>") }
            }
        }
        return ProcessResult.lastLines(of: text)
    }
}
