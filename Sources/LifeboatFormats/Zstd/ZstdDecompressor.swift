// SPDX-License-Identifier: Apache-2.0

internal import CLibZstd

/// Decodes single zstd frames into buffers of known size. Owns one libzstd context: keep one per worker thread; not
/// thread-safe.
///
/// Decoding goes straight to the destination, so the window a frame asks for is never allocated: the caller's buffer
/// is the only memory a hostile frame can fill. Compare `contentSize(of:)` with a limit before allocating it.
@safe
package final class ZstdDecompressor {
    /// The largest window accepted (2^27 bytes, what `zstd -d` accepts without an option); the limit of every frame
    /// that lifeboat writes, so that the plain tool reads it too.
    package static var maximumWindowLog: Int { 27 }

    private let context: OpaquePointer

    package init() throws(FormatError) {
        guard let context = unsafe ZSTD_createDCtx() else {
            throw FormatError(.outOfMemory, "create a zstd decompressor", "not enough memory")
        }
        unsafe self.context = unsafe context
        let result = unsafe ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Int32(Self.maximumWindowLog))
        if ZSTD_isError(result) != 0 {
            unsafe ZSTD_freeDCtx(context)
            throw ZstdResult.error(result, "set up a zstd decompressor")
        }
    }

    deinit { unsafe ZSTD_freeDCtx(context) }

    /// Decodes `frame`, which must be exactly one frame, into exactly `destination.count` bytes. Anything else throws:
    /// trailing bytes, a skippable frame, another content size, damage. `destination` holds garbage then.
    ///
    /// `base` is what the frame was compressed against (`ZstdDeltaCompressor`), if anything; another base gives other
    /// bytes or an error.
    package func decompress(
        _ frame: UnsafeRawBufferPointer, base: UnsafeRawBufferPointer? = nil,
        into destination: UnsafeMutableRawBufferPointer
    ) throws(FormatError) {
        let declared = try unsafe Self.contentSize(of: frame)
        guard declared == UInt64(destination.count) else {
            throw FormatError(
                .sizeMismatch, Self.operation,
                "it holds \(declared) bytes where \(destination.count) are expected")
        }
        // libzstd decodes frame after frame: an exact length keeps it to one.
        let length = try unsafe Self.frameSize(of: frame)
        guard length == frame.count else {
            throw FormatError(
                .sizeMismatch, Self.operation, "\(frame.count - length) bytes follow the frame")
        }
        if let base = unsafe base {
            _ = try ZstdResult.check(
                unsafe ZSTD_DCtx_refPrefix(context, base.baseAddress, base.count), Self.operation)
        }
        // The base counts for this one call, whether it fails or not: nothing of it is kept.
        let written = try ZstdResult.check(
            unsafe ZSTD_decompressDCtx(
                context, destination.baseAddress, destination.count, frame.baseAddress, frame.count),
            Self.operation)
        guard written == destination.count else {
            throw FormatError(
                .sizeMismatch, Self.operation, "\(written) bytes came out where \(destination.count) are expected")
        }
    }

    /// Plain bytes of the frame at the start of `bytes`, as its header says; the header suffices. Throws when it does
    /// not say so (every frame of lifeboat does).
    package static func contentSize(of bytes: UnsafeRawBufferPointer) throws(FormatError) -> UInt64 {
        try unsafe checkMagic(bytes)
        let size = unsafe ZSTD_getFrameContentSize(bytes.baseAddress, bytes.count)
        // ZSTD_CONTENTSIZE_UNKNOWN and ZSTD_CONTENTSIZE_ERROR: cast macros, which Swift does not see.
        guard size != UInt64.max else {
            throw FormatError(.unsupported, "read a zstd frame header", "it does not say how large its content is")
        }
        guard size != UInt64.max - 1 else {
            throw FormatError(.truncated, "read a zstd frame header", "the header is cut short or damaged")
        }
        return size
    }

    /// Stored bytes of the frame at the start of `bytes`, which must hold all of it: how a file of frames is walked.
    /// Looks at block headers only.
    package static func frameSize(of bytes: UnsafeRawBufferPointer) throws(FormatError) -> Int {
        try unsafe checkMagic(bytes)
        return try ZstdResult.check(
            unsafe ZSTD_findFrameCompressedSize(bytes.baseAddress, bytes.count), "walk a zstd frame")
    }

    private static let operation = "decompress a zstd frame"

    /// Skippable frames and those of ancient versions are none of ours.
    private static func checkMagic(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
        guard bytes.count >= 4 else {
            throw FormatError(.truncated, "read a zstd frame header", "\(bytes.count) bytes are too few")
        }
        let magic = unsafe UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self))
        guard magic == RawZstdFrame.magic else {
            throw FormatError(.damaged, "read a zstd frame header", "the bytes are not a zstd frame")
        }
    }
}
