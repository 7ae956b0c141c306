// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Where an archive goes: a file that appears under its name when it is whole, or standard output.
struct ExportTarget {
    private enum Place {
        /// A temporary name in the same folder, and the name.
        case file(temporary: String, path: String)
        case stream(any OutputStream)
    }

    private let place: Place

    /// Throws before any work is done: the file exists, or the archive would go to a terminal.
    init(_ name: String, _ context: CommandContext) throws {
        if name == "-" {
            guard !context.terminal.outputIsTerminal else {
                throw LifeboatError(
                    "an archive is not written to a terminal", hint: "Name a file with --output, or use a pipe.",
                    exitCode: .usage)
            }
            place = .stream(context.output.standard)
            return
        }
        let path = context.absolutePath(name)
        guard access(path, F_OK) != 0 else {
            throw LifeboatError("'\(name)' exists already", hint: "Remove it, or choose another name.")
        }
        let chance = UInt32.random(in: .min ... .max)
        place = .file(temporary: "\(path).\(getpid())-\(chance)\(AtomicFile.temporarySuffix)", path: path)
    }

    /// Gives `body` a descriptor to write the whole archive to.
    func write(_ body: (Int32) throws -> Void) throws {
        switch place {
        case .file(let temporary, let path):
            let file = try OwnedDescriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
            try body(file.raw)
            try DescriptorIO.synchronize(file.raw, path)
            try file.close(path)
            guard try Rename.withoutReplacing(temporary, to: path) else {
                throw LifeboatError("'\(path)' was made by somebody else meanwhile", hint: "Choose another name.")
            }
            try AtomicFile.synchronizeFolder(of: path)
        case .stream(let stream): try pump(into: stream, body)
        }
    }

    /// Takes an unfinished file away.
    func abandon() {
        if case .file(let temporary, _) = place { unlink(temporary) }
    }

    /// A pipe between the writer, which wants a descriptor, and the stream, which may be anything.
    private func pump(into stream: any OutputStream, _ body: (Int32) throws -> Void) throws {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw SystemCallError("make", "a pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let output = OwnedDescriptor(owning: ends[1])
        let input = ends[0]
        let failure = Monitor<SystemCallError?>(nil)
        let thread = BlockingThread<Void>(name: "export") {
            let owned = OwnedDescriptor(owning: input)
            var buffer = [UInt8](repeating: 0, count: 256 << 10)
            while true {
                let count = Glibc.read(owned.raw, &buffer, buffer.count)
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw SystemCallError("read", "the archive") }
                if count == 0 { return }
                if failure.withLock({ $0 != nil }) { continue }
                do {
                    try buffer.withUnsafeBytes { try stream.write(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
                } catch let error as SystemCallError {
                    // Reads on, so that the writer's pipe stays whole; what it writes is lost, and told at the end.
                    failure.withLock { $0 = error }
                }
            }
        }
        do {
            try body(output.raw)
        } catch {
            try output.close("the archive")
            try thread.join()
            throw error
        }
        try output.close("the archive")
        try thread.join()
        if let failure = failure.withLock({ $0 }) { throw failure }
    }
}
