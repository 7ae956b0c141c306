// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// Whether a file of the local cache still has the digest it must have, without hashing it each time it is opened.
///
/// Beside a file that was hashed lies a note: its digest, and how the file system knew it at that time (boot, device,
/// inode, size, times of modification and change). While all of that is the same, the file is taken for unchanged. The
/// boot is part of it because copies are not flushed to disk: after a crash they may be torn. So every file is hashed
/// once a boot, and whenever somebody asks for it (`always`). A note that is wrong or lost costs one more hash.
enum CheckedCopy {
    static let suffix = ".seen"

    /// How much of a file is read at once, bytes.
    private static let blockSize = 256 << 10

    /// Whether the open file has `digest`. `note` is the path of its note.
    static func require(
        _ digest: Digest, of file: borrowing OwnedDescriptor, _ path: String, note: String, always: Bool
    ) throws -> Bool {
        let text = try describe(file, path, digest)
        if !always, let known = try? contents(note), known == Array(text.utf8) { return true }
        guard try hash(file, path) == digest else { return false }
        // Nobody wrote to it meanwhile: what was hashed is what is described.
        if try describe(file, path, digest) == text { remember(text, note) }
        return true
    }

    /// Notes that `path` has the digest, which was computed while it was written.
    static func noteWritten(_ path: String, _ digest: Digest, note: String) throws {
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        remember(try describe(file, path, digest), note)
    }

    private static func remember(_ text: String, _ note: String) {
        // Without the note the file is hashed the next time: no reason to fail.
        _ = try? Array(text.utf8).withUnsafeBytes { try AtomicFile.write([$0], to: note, durable: false) }
    }

    private static let boot = Result { () throws(SystemCallError) in try ProcessIdentity.currentBootID() }

    private static func describe(
        _ file: borrowing OwnedDescriptor, _ path: String, _ digest: Digest
    ) throws -> String {
        let status: FileStatus
        do throws(Errno) {
            status = try FileStatus.of(file.raw)
        } catch {
            throw SystemCallError("examine", path, errorNumber: error.number)
        }
        let times = [status.modificationTime, status.changeTime].map { "\($0.seconds).\($0.nanoseconds)" }
        return "\(digest.hex) \(try boot.get()) \(status.volume) \(status.inode) \(status.size) "
            + "\(times[0]) \(times[1])\n"
    }

    /// The first bytes of a note; longer than any, so that no more is needed.
    private static func contents(_ path: String) throws -> [UInt8] {
        let file = try OwnedDescriptor.open(path, O_RDONLY)
        var bytes = [UInt8](repeating: 0, count: 512)
        let count = try bytes.withUnsafeMutableBytes { try DescriptorIO.read(file.raw, into: $0, path) }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    /// Read rather than mapped: mapped pages count as memory of the process.
    private static func hash(_ file: borrowing OwnedDescriptor, _ path: String) throws -> Digest {
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: blockSize, alignment: 64)
        defer { block.deallocate() }
        var hasher = BLAKE3Hasher()
        var offset: UInt64 = 0
        while true {
            let count = try DescriptorIO.read(file.raw, at: offset, into: block, path)
            hasher.update(UnsafeRawBufferPointer(rebasing: block[..<count]))
            offset += UInt64(count)
            if count < block.count { return hasher.finalize() }
        }
    }
}
