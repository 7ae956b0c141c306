// SPDX-License-Identifier: Apache-2.0

internal import CLibArchive
internal import Glibc
package import LifeboatCore

/// Writes single members of a ustar archive into buffers, through libarchive: a regular file of mode 0644, owner 0:0
/// and time 0, so that the same name and data always give the same bytes.
///
/// The libarchive handle and entry live as long as the writer: keep one per worker thread; not thread-safe. The
/// archive's end marker is not libarchive's business here (members are cut into frames): append `endMarkerSize` zero
/// bytes after the last member.
@safe
package final class TarMemberWriter {
    /// Bytes of a member's header, and what its data is padded to a multiple of.
    package static var blockSize: Int { 512 }
    /// Bytes of the end-of-archive marker, all zero.
    package static var endMarkerSize: Int { 1024 }
    /// The longest last part of a name: the header's name field. lifeboat needs 68.
    package static var maximumNameLength: Int { 100 }
    /// The longest part of a name before its last slash: the header's prefix field. lifeboat needs 136.
    package static var maximumFolderLength: Int { 155 }
    /// The largest data: eleven octal digits.
    package static var maximumDataSize: Int { (8 << 30) - 1 }

    /// Where libarchive's output goes during one call.
    @unsafe
    private struct Sink {
        var target: UnsafeMutableRawPointer?
        /// Bytes that may still be stored at `target`.
        var capacity = 0
        /// Bytes libarchive gave, stored or not.
        var received = 0
        /// Storing only the header: what follows is taken and dropped.
        var headerOnly = false
    }

    private let archive: OpaquePointer
    private let entry: OpaquePointer
    private let sink: UnsafeMutablePointer<Sink>

    package init() throws(FormatError) {
        guard let archive = unsafe archive_write_new() else { throw Self.noMemory }
        guard let entry = unsafe archive_entry_new() else {
            unsafe archive_write_free(archive)
            throw Self.noMemory
        }
        unsafe self.archive = unsafe archive
        unsafe self.entry = unsafe entry
        unsafe sink = .allocate(capacity: 1)
        unsafe sink.initialize(to: Sink())
        // From here on deinit releases all three.
        try check(unsafe archive_write_set_format_ustar(archive))
        try check(unsafe archive_write_add_filter_none(archive))
        // Every piece straight to the callback: no buffer, no copy, no padding of the end.
        try check(unsafe archive_write_set_bytes_per_block(archive, 0))
        try check(unsafe archive_write_set_bytes_in_last_block(archive, 1))
        try check(
            unsafe archive_write_open(
                archive, sink, nil,
                { _, context, bytes, count in
                    // The sink outlives the archive handle; libarchive calls back only inside the calls below.
                    guard let context = unsafe context, let bytes = unsafe bytes else { return -1 }
                    return unsafe TarMemberWriter.store(
                        bytes, count, in: context.assumingMemoryBound(to: Sink.self))
                }, nil))
        unsafe archive_entry_set_filetype(entry, UInt32(Glibc.S_IFREG))
        unsafe archive_entry_set_perm(entry, 0o644)
        unsafe archive_entry_set_uid(entry, 0)
        unsafe archive_entry_set_gid(entry, 0)
        unsafe archive_entry_set_mtime(entry, 0, 0)
    }

    deinit {
        // Without it free would write an end marker into a buffer that is gone.
        unsafe archive_write_fail(archive)
        unsafe archive_write_free(archive)
        unsafe archive_entry_free(entry)
        unsafe sink.deinitialize(count: 1)
        unsafe sink.deallocate()
    }

    private static let noMemory = FormatError(.outOfMemory, "create a tar writer", "not enough memory")

    /// Length of a member with `dataSize` bytes of data: header, data, padding.
    package static func memberSize(dataSize: Int) -> Int { blockSize + dataSize + paddingSize(dataSize: dataSize) }

    /// Zero bytes that follow the data.
    package static func paddingSize(dataSize: Int) -> Int { -dataSize & (blockSize - 1) }

    /// Writes header, data and padding to `output` from `offset` on; returns the bytes written, `memberSize` of the
    /// data. Throws `destinationTooSmall`, or `unsupported` for a name or size a plain header cannot hold.
    @discardableResult
    package func append(
        name: String, data: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer, at offset: Int
    ) throws(FormatError) -> Int {
        try prepare(name: name)
        return try unsafe append(data, to: output, at: offset)
    }

    /// `append` of a member named by the 64 hexadecimal digits of a digest.
    @discardableResult
    package func append(
        name: Digest, data: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer, at offset: Int
    ) throws(FormatError) -> Int {
        prepare(name: name)
        return try unsafe append(data, to: output, at: offset)
    }

    /// Writes only the header of a member named by `name` that holds `data`, to the first `blockSize` bytes of
    /// `output`: for callers that bring the data and `paddingSize` zero bytes to their place themselves.
    package func writeHeader(
        name: Digest, for data: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer
    ) throws(FormatError) {
        prepare(name: name)
        guard output.count >= Self.blockSize else { throw Self.tooSmall }
        unsafe sink.pointee = Sink(
            target: output.baseAddress, capacity: Self.blockSize, headerOnly: true)
        try unsafe writeMember(data)
    }

    private static let operation = "write a tar member"
    private static let tooSmall = FormatError(.destinationTooSmall, operation, "the buffer is too small for it")

    private func prepare(name: String) throws(FormatError) {
        let length = name.utf8.count
        let slash = name.utf8.lastIndex(of: UInt8(ascii: "/"))
        let folder = slash.map { name.utf8.distance(from: name.utf8.startIndex, to: $0) } ?? -1
        guard (1...Self.maximumNameLength).contains(length - folder - 1), folder <= Self.maximumFolderLength,
            folder != 0, !name.utf8.contains(0)
        else {
            throw FormatError(.unsupported, Self.operation, "its name has \(length) bytes or holds a NUL")
        }
        // copy_pathname takes the bytes as they are; nothing here converts between character sets.
        unsafe name.withCString { unsafe archive_entry_copy_pathname(entry, $0) }
    }

    private func prepare(name: Digest) {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 65) { characters in
            unsafe characters.initialize(repeating: 0)
            unsafe name.copyHex(to: UnsafeMutableRawBufferPointer(characters))
            unsafe archive_entry_copy_pathname(entry, characters.baseAddress)
        }
    }

    private func append(
        _ data: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer, at offset: Int
    ) throws(FormatError) -> Int {
        let size = Self.memberSize(dataSize: data.count)
        guard offset >= 0, offset <= output.count, size <= output.count - offset else { throw Self.tooSmall }
        unsafe sink.pointee = Sink(target: output.baseAddress.map { unsafe $0 + offset }, capacity: size)
        try unsafe writeMember(data)
        return size
    }

    private func writeMember(_ data: UnsafeRawBufferPointer) throws(FormatError) {
        // The buffer belongs to the caller again once this returns.
        defer { unsafe sink.pointee = Sink() }
        guard data.count <= Self.maximumDataSize else {
            throw FormatError(.unsupported, Self.operation, "\(data.count) bytes are too many")
        }
        unsafe archive_entry_set_size(entry, Int64(data.count))
        try check(unsafe archive_write_header(archive, entry))
        if data.count > 0 {
            let taken = unsafe archive_write_data(archive, data.baseAddress, data.count)
            guard taken == data.count else {
                throw taken < 0 ? error(Int32(truncatingIfNeeded: taken)) : wrongLength
            }
        }
        try check(unsafe archive_write_finish_entry(archive))
        guard unsafe sink.pointee.received == Self.memberSize(dataSize: data.count) else { throw wrongLength }
    }

    private var wrongLength: FormatError {
        FormatError(.library, Self.operation, "libarchive wrote another number of bytes than the format asks for")
    }

    private static func store(_ bytes: UnsafeRawPointer, _ count: Int, in sink: UnsafeMutablePointer<Sink>) -> Int {
        unsafe sink.pointee.received += count
        let room = unsafe sink.pointee.capacity
        if room == 0, unsafe sink.pointee.headerOnly { return count }
        guard count <= room, let target = unsafe sink.pointee.target else { return -1 }
        unsafe target.copyMemory(from: bytes, byteCount: count)
        unsafe sink.pointee.target = unsafe target + count
        unsafe sink.pointee.capacity = room - count
        return count
    }

    private func check(_ result: Int32) throws(FormatError) {
        if result != ARCHIVE_OK { throw error(result) }
    }

    private func error(_ result: Int32) -> FormatError {
        unsafe ArchiveResult.error(result, of: archive, Self.operation)
    }
}
