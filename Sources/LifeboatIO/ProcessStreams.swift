// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import Synchronization

/// A child started by `SystemProcessRunner` whose streams the caller reads and writes.
///
/// `read` and `write` are for one thread each; `terminate` may come from any other and wakes them. A thread of its own
/// collects standard error.
final class SystemRunningProcess: RunningProcess {
    private let child: ProcessChild
    private let input: ProcessPipeEnd?
    private let output: ProcessPipeEnd?
    private let errors: BlockingThread<String>
    /// Its writing end is closed by `terminate`, which wakes a blocked reader or writer.
    private let wake: ProcessPipe
    private let terminated = Atomic<Bool>(false)
    /// Bytes of output that were read.
    private let received = Atomic<Int>(0)
    private let cancellation: Cancellation?
    /// Seconds from SIGTERM to SIGKILL after a cancellation.
    private let grace: Double

    init(
        _ command: ProcessCommand, pipesInput: Bool, pipesOutput: Bool, cancellation: Cancellation?, grace: Double
    ) throws {
        self.cancellation = cancellation
        self.grace = grace
        let program = command.executable
        let null = try OwnedDescriptor.open("/dev/null", O_RDWR)
        let errorPipe = try ProcessPipe(program)
        let inputPipe = pipesInput ? try ProcessPipe(program) : nil
        let outputPipe = pipesOutput ? try ProcessPipe(program) : nil
        try errorPipe.reading.makeNonBlocking()
        try inputPipe?.writing.makeNonBlocking()
        try outputPipe?.reading.makeNonBlocking()
        wake = try ProcessPipe(program, capacity: nil)
        let child = try ProcessChild(
            command, input: inputPipe?.reading.raw ?? null.raw, output: outputPipe?.writing.raw ?? null.raw,
            error: errorPipe.writing.raw)
        inputPipe?.reading.close()
        outputPipe?.writing.close()
        errorPipe.writing.close()
        self.child = child
        input = inputPipe?.writing
        output = outputPipe?.reading
        let errorEnd = errorPipe.reading
        errors = BlockingThread(name: "stderr") { try Self.collect(errorEnd, child) }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        guard let output, !buffer.isEmpty else { return 0 }
        var hasPaused = received.load(ordering: .relaxed) < Self.longStream
        while true {
            if terminated.load(ordering: .acquiring) { throw ProcessError.terminated(program: child.program) }
            if let count = try output.read(into: buffer) {
                received.add(count, ordering: .relaxed)
                return count
            }
            try wait(output, POLLIN, &hasPaused)
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard let input else { throw ProcessError.inputClosed(program: child.program) }
        var done = 0
        var hasPaused = false
        while done < bytes.count {
            if terminated.load(ordering: .acquiring) { throw ProcessError.terminated(program: child.program) }
            if let count = try input.write(UnsafeRawBufferPointer(rebasing: bytes[done...])) {
                done += count
                hasPaused = false
            } else {
                try wait(input, POLLOUT, &hasPaused)
            }
        }
    }

    /// Bytes after which output is a long stream rather than an answer.
    private static let longStream = 1 << 20

    /// Microseconds in which a program that reads or writes 4 KiB at a time, as pg_dump and pg_restore do, moves a
    /// good part of what a pipe holds. Who polls at once is woken for each of these pieces, and the program pays too:
    /// a third of the processor time of a dump.
    private static let pieceTime: useconds_t = 500

    /// Waits until one of our ends can go on, `terminate` was called or some time has passed: first a moment, for more
    /// than one piece.
    private func wait(_ end: ProcessPipeEnd, _ events: Int32, _ hasPaused: inout Bool) throws {
        try checkCancellation()
        if !hasPaused {
            hasPaused = true
            usleep(Self.pieceTime)
            return
        }
        _ = ProcessPoll.wait(
            [(end.raw, events), (wake.reading.raw, POLLIN)],
            milliseconds: cancellation == nil ? -1 : ProcessPoll.sliceMilliseconds)
    }

    private func checkCancellation() throws {
        guard cancellation?.isCancelled == true else { return }
        terminate(grace: grace)
        throw LifeboatError.interrupted
    }

    func closeInput() throws { input?.close() }

    func finish() throws -> ProcessResult {
        // A child that still has output to write gets an error for it rather than waiting for us for ever.
        input?.close()
        output?.close()
        while !child.waitForExit(seconds: cancellation == nil ? nil : Double(ProcessPoll.sliceMilliseconds) / 1000) {
            try checkCancellation()
        }
        let text = try errors.join()
        return ProcessResult(termination: try child.reap(), standardOutput: [], standardError: text)
    }

    func terminate(grace: Double) {
        terminated.store(true, ordering: .releasing)
        wake.writing.close()
        // An error path: what went wrong before is what counts, and a child that cannot be waited for is gone.
        _ = try? child.end(grace: grace)
        _ = try? errors.join()
    }

    /// Reads standard error until its end, or until the child is gone and nothing is left in the pipe: a background
    /// process it left behind may keep the pipe open.
    private static func collect(_ end: ProcessPipeEnd, _ child: ProcessChild) throws -> String {
        var tail = ProcessErrorTail()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 << 10, alignment: 16)
        defer { buffer.deallocate() }
        var exited = false
        while true {
            if let count = try end.read(into: buffer) {
                if count == 0 { break }
                tail.append(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            } else if exited {
                break
            } else {
                exited = ProcessPoll.wait([(end.raw, POLLIN), (child.exitDescriptor.raw, POLLIN)])[1]
            }
        }
        return tail.text
    }
}
