// SPDX-License-Identifier: Apache-2.0

internal import CLibArchive
internal import Glibc
internal import LifeboatCore

/// Writes a tree as one archive to a file descriptor, through libarchive: what `export` gives to other tools.
///
/// Used on one thread at a time; calls block. Every archive ends with `close()`; a writer that goes away without it
/// leaves a visibly unfinished archive, never one that looks whole.
@safe
package final class ArchiveWriter {
    package enum Format: Sendable, Equatable {
        /// POSIX pax: names byte for byte, nanoseconds, extended attributes, ACLs, file flags, hard links, holes.
        case tar
        /// The same in zstd frames made by so many threads.
        case tarZstandard(level: Int, threads: Int)
        /// Files, folders and symbolic links with modes and whole seconds; holes become zeros.
        case zip
    }

    private static let operation = "write an archive"
    private static let bufferSize = 1 << 18

    private let format: Format
    private let archive: OpaquePointer
    private let entry: ArchiveEntry
    private let buffer: UnsafeMutableRawBufferPointer
    private let zeros: UnsafeMutableRawBufferPointer
    private let names: NameLocale
    private var state = State.open

    private enum State { case open, failed, closed }

    /// Writes to `descriptor`, which stays the caller's: to be closed, and synchronized if it is a file, after
    /// `close()`.
    package init(_ format: Format, to descriptor: Int32) throws(FormatError) {
        guard let archive = unsafe archive_write_new() else {
            throw FormatError(.outOfMemory, Self.operation, "not enough memory")
        }
        do throws(FormatError) {
            entry = try ArchiveEntry()
            names = try NameLocale()
        } catch {
            unsafe archive_write_free(archive)
            throw error
        }
        self.format = format
        unsafe self.archive = unsafe archive
        unsafe buffer = .allocate(byteCount: Self.bufferSize, alignment: 64)
        unsafe zeros = .allocate(byteCount: Self.bufferSize, alignment: 64)
        unsafe zeros.initializeMemory(as: UInt8.self, repeating: 0)
        // From here on deinit releases everything.
        switch format {
        case .tar, .tarZstandard:
            try check(unsafe archive_write_set_format_pax(archive))
            // The form both GNU tar and bsdtar read; the other doubles the size.
            try check(unsafe archive_write_set_format_option(archive, "pax", "xattrheader", "SCHILY"))
        case .zip: try check(unsafe archive_write_set_format_zip(archive))
        }
        if case .tarZstandard(let level, let threads) = format {
            try check(unsafe archive_write_add_filter_zstd(archive))
            try check(unsafe archive_write_set_filter_option(archive, "zstd", "compression-level", "\(level)"))
            try check(unsafe archive_write_set_filter_option(archive, "zstd", "threads", "\(max(1, threads))"))
        } else {
            try check(unsafe archive_write_add_filter_none(archive))
        }
        try check(unsafe archive_write_set_bytes_per_block(archive, Int32(Self.bufferSize)))
        try check(unsafe archive_write_set_bytes_in_last_block(archive, 1))
        try check(unsafe archive_write_open_fd(archive, descriptor))
    }

    deinit {
        // Without it free would write the end marker of an unfinished archive.
        if state != .closed { unsafe archive_write_fail(archive) }
        unsafe archive_write_free(archive)
        unsafe buffer.deallocate()
        unsafe zeros.deallocate()
    }

    /// Why the format cannot hold the entry, lower case; nil when it can. Such an entry is for the caller to leave out
    /// and report.
    package static func refusal(of item: TreeEntry, in format: Format) -> String? {
        if item.path.contains(0) || item.hardLink?.contains(0) == true || item.linkTarget?.contains(0) == true {
            return "its name holds a NUL"
        }
        switch item.kind {
        case .socket: return "archives hold no sockets"
        case .fifo, .characterDevice, .blockDevice:
            if format == .zip { return "zip archives hold only files, folders and symbolic links" }
        case .symbolicLink:
            if item.linkTarget == nil { return "the target of the link is not known" }
        case .file:
            if item.hardLink != nil {
                return format == .zip ? "zip archives hold no hard links, only copies" : nil
            }
            if item.content == nil { return "its content is missing from the snapshot" }
        case .directory: break
        }
        return nil
    }

    /// Adds an entry. For a regular file that is no hard link `data` gives its content piece by piece: it fills the
    /// start of the buffer and returns how much, 0 at the end; for a sparse file that is the data of its extents alone.
    /// It must come to exactly the size of `item.content`.
    ///
    /// Returns what libarchive could not express of the entry, nil when it is all there. After an error whose kind is
    /// `unsupported` and that came before the first byte of data the archive goes on without the entry; after every
    /// other one it is lost. Errors of `data` come through.
    package func add(
        _ item: TreeEntry, data: (UnsafeMutableRawBufferPointer) throws -> Int = { _ in 0 }
    ) throws -> String? {
        guard state == .open else {
            throw FormatError(.library, Self.operation, "it has failed before or is closed")
        }
        if let reason = Self.refusal(of: item, in: format) { throw FormatError(.unsupported, Self.operation, reason) }
        let extents = try self.extents(of: item)
        try entry.set(item, sparse: format == .zip || extents == nil ? nil : item.extents)
        let time = item.modificationTime.seconds
        let isTimeOutside = format == .zip && !Self.zipTimes.contains(time)
        if isTimeOutside {
            // libarchive asks localtime(3), which has no answer for years beyond its range.
            entry.setModificationTime(min(max(time, Self.zipTimes.lowerBound), Self.zipTimes.upperBound))
        }
        state = .failed
        let itemNames = [item.path, item.linkTarget ?? [], item.hardLink ?? []]
        let areUTF8 = itemNames.allSatisfy { String(validating: $0, as: UTF8.self) != nil }
        let (result, warning) = names.with(utf8: areUTF8) { () -> (Int32, String?) in
            let result = unsafe archive_write_header(archive, entry.pointer)
            guard result == ARCHIVE_WARN else { return (result, nil) }
            // A name that is not UTF-8 is in the archive all the same, as bytes (pax: hdrcharset=BINARY); libarchive
            // reports it as EILSEQ, its ARCHIVE_ERRNO_FILE_FORMAT on Linux.
            let warning = error(result)
            let isAboutBytes = !areUTF8 && format != .zip && warning.code == Int(EILSEQ)
            return (result, isAboutBytes ? nil : warning.text)
        }
        if result != ARCHIVE_OK, result != ARCHIVE_WARN {
            let failure = error(result)
            if result == ARCHIVE_FAILED { state = .open }
            throw result == ARCHIVE_FAILED
                ? FormatError(.unsupported, Self.operation, code: failure.code, failure.text) : failure
        }
        if let extents { try unsafe write(extents, size: item.size, data) }
        try check(unsafe archive_write_finish_entry(archive))
        state = .open
        return warning ?? (isTimeOutside ? "zip archives hold times of 1901 to 2038 only" : nil)
    }

    /// Seconds since 1970 that the 32 bits of a zip archive's extra field can hold.
    private static let zipTimes = Int64(Int32.min)...Int64(Int32.max)

    /// Writes what ends the archive. Only an archive for which this returned is whole.
    package func close() throws(FormatError) {
        guard state == .open else {
            throw FormatError(.library, Self.operation, "it has failed before or is closed")
        }
        state = .failed
        try check(unsafe archive_write_close(archive))
        state = .closed
    }

    /// Where the data of a regular file lies in it; nil for other entries. Checked: ascending, disjoint, inside, and
    /// together as long as the content.
    private func extents(of item: TreeEntry) throws(FormatError) -> [TreeEntry.Extent]? {
        guard item.kind == .file, item.hardLink == nil, let content = item.content else { return nil }
        guard item.size <= UInt64(Int64.max) else {
            throw FormatError(.unsupported, Self.operation, "a file of \(item.size) bytes is too large")
        }
        let extents = item.extents ?? [TreeEntry.Extent(offset: 0, length: item.size)]
        var end: UInt64 = 0
        var total: UInt64 = 0
        for extent in extents {
            guard extent.offset >= end, extent.offset <= item.size, extent.length <= item.size - extent.offset else {
                throw FormatError(.unsupported, Self.operation, "the extents of a sparse file are not in order")
            }
            end = extent.offset + extent.length
            total += extent.length
        }
        guard total == content.size else {
            throw FormatError(
                .unsupported, Self.operation, "a file has \(total) bytes of data, its content \(content.size)")
        }
        return extents
    }

    /// Feeds the file from front to back, holes as zeros: libarchive drops those it knows to be holes.
    private func write(
        _ extents: [TreeEntry.Extent], size: UInt64, _ data: (UnsafeMutableRawBufferPointer) throws -> Int
    ) throws {
        var position: UInt64 = 0
        for extent in extents {
            try writeZeros(extent.offset - position)
            var left = extent.length
            while left > 0 {
                let wanted = Int(min(left, UInt64(Self.bufferSize)))
                let count = try unsafe data(UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]))
                // libarchive would fill up with zeros and call it done.
                guard count > 0 else {
                    throw FormatError(.truncated, Self.operation, "the content of a file ends \(left) bytes early")
                }
                precondition(count <= wanted, "no more bytes than there is room for")
                try unsafe write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                left -= UInt64(count)
            }
            position = extent.offset + extent.length
        }
        try writeZeros(size - position)
        // The source checks itself at its end.
        guard try unsafe data(UnsafeMutableRawBufferPointer(rebasing: buffer[..<1])) == 0 else {
            throw FormatError(.sizeMismatch, Self.operation, "the content of a file is longer than it should be")
        }
    }

    private func writeZeros(_ count: UInt64) throws(FormatError) {
        var left = count
        while left > 0 {
            let piece = Int(min(left, UInt64(Self.bufferSize)))
            try unsafe write(UnsafeRawBufferPointer(rebasing: zeros[..<piece]))
            left -= UInt64(piece)
        }
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
        var offset = 0
        while offset < bytes.count {
            let written = unsafe archive_write_data(archive, bytes.baseAddress! + offset, bytes.count - offset)
            guard written > 0 else {
                throw written < 0
                    ? error(Int32(truncatingIfNeeded: written))
                    : FormatError(.sizeMismatch, Self.operation, "a file is longer than its header says")
            }
            offset += written
        }
    }

    private func check(_ result: Int32) throws(FormatError) {
        if result != ARCHIVE_OK { throw error(result) }
    }

    private func error(_ result: Int32) -> FormatError {
        unsafe ArchiveResult.error(result, of: archive, Self.operation)
    }
}

/// libarchive writes names as UTF-8 when the character set of the locale is UTF-8: a zip header then says so, and a pax
/// header then needs no `hdrcharset`, which GNU tar does not know and warns about. The locale of the calling thread
/// alone is changed for the time of one call: the process keeps the C locale.
@safe
private final class NameLocale {
    private let locale: locale_t

    init() throws(FormatError) {
        guard let locale = unsafe newlocale(LC_CTYPE_MASK, "C.UTF-8", nil) else {
            throw FormatError(.unsupported, "write an archive", code: Int(errno), "there is no locale C.UTF-8")
        }
        unsafe self.locale = unsafe locale
    }

    deinit { unsafe freelocale(locale) }

    /// Runs `body`, under C.UTF-8 when all names of the entry are UTF-8.
    func with<Result>(utf8: Bool, _ body: () throws -> Result) rethrows -> Result {
        guard utf8 else { return try body() }
        let previous = unsafe uselocale(locale)
        defer { unsafe uselocale(previous) }
        return try body()
    }
}
