// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Why a model file is not what its format says. The message is one for people, lower case, without the file.
struct ModelFileError: Error, Equatable, LifeboatErrorConvertible {
    var reason: String
    init(_ reason: String) { self.reason = reason }
    var lifeboatError: LifeboatError { LifeboatError(reason) }
}

/// Reads numbers and texts from the front of a file, never past its end.
struct HeaderReader: ~Copyable {
    let size: UInt64
    private let file: OwnedDescriptor
    private let path: String
    private(set) var position: UInt64 = 0
    private var window: [UInt8] = []
    private var windowStart: UInt64 = 0
    /// Some formats are written in the byte order of the machine that wrote them.
    var isBigEndian = false

    private static let windowSize = 64 << 10

    init(_ path: String) throws {
        let opened = try OwnedDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        size = try Self.size(opened.raw, path)
        file = opened
        self.path = path
    }

    private static func size(_ descriptor: Int32, _ path: String) throws -> UInt64 {
        do throws(Errno) {
            let status = try FileStatus.of(descriptor)
            guard status.isFile else { throw Errno(EINVAL) }
            return status.size
        } catch {
            throw SystemCallError("examine", path, errorNumber: error.number)
        }
    }

    var remaining: UInt64 { size - position }

    mutating func skip(_ count: UInt64) throws {
        guard count <= remaining else { throw Self.short }
        position += count
    }

    mutating func bytes(_ count: Int) throws -> [UInt8] {
        guard UInt64(count) <= remaining else { throw Self.short }
        let start = position &- windowStart
        if position >= windowStart, start + UInt64(count) <= UInt64(window.count) {
            position += UInt64(count)
            return Array(window[Int(start)..<Int(start) + count])
        }
        var buffer = [UInt8](repeating: 0, count: max(count, Int(min(UInt64(Self.windowSize), remaining))))
        let position = position
        let path = path
        let read = try buffer.withUnsafeMutableBytes { [raw = file.raw] in
            try DescriptorIO.read(raw, at: position, into: $0, path)
        }
        guard read >= count else { throw Self.short }
        window = Array(buffer[..<read])
        windowStart = position
        self.position += UInt64(count)
        return Array(window[..<count])
    }

    mutating func number(_ width: Int) throws -> UInt64 {
        let bytes = try bytes(width)
        return (isBigEndian ? bytes : bytes.reversed()).reduce(0) { $0 << 8 | UInt64($1) }
    }

    static let short = ModelFileError("it ends inside its header")
}
