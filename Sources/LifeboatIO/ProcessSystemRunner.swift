// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore

/// The process runner over Linux itself. See docs/decisions/0005-child-processes.md for why it makes its children on its own.
package struct SystemProcessRunner: ProcessRunner {
    /// Seconds between SIGTERM and SIGKILL for a child that missed its deadline or was cancelled.
    private let grace: Double

    package init(grace: Double = 5) { self.grace = grace }

    package func start(
        _ command: ProcessCommand, pipesInput: Bool, pipesOutput: Bool
    ) throws -> any RunningProcess {
        try start(command, pipesInput: pipesInput, pipesOutput: pipesOutput, cancellation: nil)
    }

    package func start(
        _ command: ProcessCommand, pipesInput: Bool, pipesOutput: Bool, cancellation: Cancellation?
    ) throws -> any RunningProcess {
        try cancellation?.check()
        return try SystemRunningProcess(
            command, pipesInput: pipesInput, pipesOutput: pipesOutput, cancellation: cancellation, grace: grace)
    }

    package func run(
        _ command: ProcessCommand, input: [UInt8], outputLimit: Int, deadline: Double?, cancellation: Cancellation?
    ) throws -> ProcessResult {
        try cancellation?.check()
        var exchange = try ProcessExchange(command, input: input, outputLimit: outputLimit)
        do {
            return try exchange.complete(deadline: deadline, cancellation: cancellation)
        } catch {
            _ = try? exchange.child.end(grace: grace)
            throw error
        }
    }
}

/// One child fed from and collected into memory, on the calling thread alone.
private struct ProcessExchange {
    let child: ProcessChild
    private var input: ProcessPipeEnd?
    private var output: ProcessPipeEnd?
    private var errors: ProcessPipeEnd?
    private let inputBytes: [UInt8]
    private var inputDone = 0
    private let outputLimit: Int
    private var collected: [UInt8] = []
    private var tail: ProcessErrorTail
    private var buffer = [UInt8](repeating: 0, count: 64 << 10)

    init(_ command: ProcessCommand, input bytes: [UInt8], outputLimit: Int) throws {
        let program = command.executable
        let null = try OwnedDescriptor.open("/dev/null", O_RDONLY)
        let inputPipe = bytes.isEmpty ? nil : try ProcessPipe(program)
        let outputPipe = try ProcessPipe(program)
        let errorPipe = try ProcessPipe(program)
        try inputPipe?.writing.makeNonBlocking()
        try outputPipe.reading.makeNonBlocking()
        try errorPipe.reading.makeNonBlocking()
        child = try ProcessChild(
            command, input: inputPipe?.reading.raw ?? null.raw, output: outputPipe.writing.raw,
            error: errorPipe.writing.raw)
        inputPipe?.reading.close()
        outputPipe.writing.close()
        errorPipe.writing.close()
        input = inputPipe?.writing
        output = outputPipe.reading
        errors = errorPipe.reading
        inputBytes = bytes
        self.outputLimit = outputLimit
        tail = ProcessErrorTail(limit: command.standardErrorLimit)
    }

    mutating func complete(deadline: Double?, cancellation: Cancellation?) throws -> ProcessResult {
        let end = deadline.map { monotonicSeconds() + $0 }
        var exited = false
        while !exited || output != nil || errors != nil {
            // What is in the pipes comes before the news that the child has ended.
            var progress = try feed()
            progress = try collectOutput() || progress
            progress = try collectErrors() || progress
            if progress { continue }
            // The child is gone and the pipes are empty; a background process it left may keep them open.
            if exited { break }
            try cancellation?.check()
            let left = end.map { $0 - monotonicSeconds() } ?? .infinity
            if left <= 0 {
                throw ProcessError.deadline(
                    program: child.program, seconds: deadline ?? 0, standardError: tail.text)
            }
            let slice = cancellation == nil ? Int32.max : ProcessPoll.sliceMilliseconds
            let wait = left.isFinite ? min(slice, Int32(clamping: Int((left * 1000).rounded(.up)))) : slice
            let ready = ProcessPoll.wait(
                [
                    (child.exitDescriptor.raw, POLLIN), (input?.raw ?? -1, POLLOUT), (output?.raw ?? -1, POLLIN),
                    (errors?.raw ?? -1, POLLIN),
                ], milliseconds: wait == .max ? -1 : wait)
            exited = ready[0]
        }
        return ProcessResult(
            termination: try child.reap(), standardOutput: collected, standardError: tail.text)
    }

    /// Writes input until the pipe is full; a child that does not want all of it is its own business.
    private mutating func feed() throws -> Bool {
        guard let end = input else { return false }
        do {
            let written = try inputBytes.withUnsafeBytes { bytes in
                try end.write(UnsafeRawBufferPointer(rebasing: bytes[inputDone...]))
            }
            guard let written else { return false }
            inputDone += written
        } catch ProcessError.inputClosed {
            inputDone = inputBytes.count
        }
        if inputDone == inputBytes.count {
            end.close()
            input = nil
        }
        return true
    }

    private mutating func collectOutput() throws -> Bool {
        guard let end = output, let count = try buffer.withUnsafeMutableBytes({ try end.read(into: $0) }) else {
            return false
        }
        if count == 0 { output = nil }
        guard collected.count + count <= outputLimit else {
            throw ProcessError.outputLimit(program: child.program, bytes: outputLimit)
        }
        collected.append(contentsOf: buffer[..<count])
        return true
    }

    private mutating func collectErrors() throws -> Bool {
        guard let end = errors, let count = try buffer.withUnsafeMutableBytes({ try end.read(into: $0) }) else {
            return false
        }
        if count == 0 { errors = nil }
        buffer.withUnsafeBytes { tail.append(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        return true
    }
}
