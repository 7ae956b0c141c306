// SPDX-License-Identifier: Apache-2.0

internal import CLibZstd

/// Compresses buffers against a base, as `zstd --patch-from=BASE` does: a frame whose matches may lie in the base, and
/// that only decodes with the same base. Owns one libzstd context; not thread-safe.
@safe
package final class ZstdDeltaCompressor {
    private let context: OpaquePointer

    /// The level at which two equal megabytes cost 1 ms (zstd 1.5.4, one core of 2026); higher ones save nothing to
    /// speak of where most of the data is one long match.
    private static let level = 3

    package init() throws(FormatError) {
        guard let context = unsafe ZSTD_createCCtx() else {
            throw FormatError(.outOfMemory, "create a zstd compressor", "not enough memory")
        }
        unsafe self.context = unsafe context
        do throws(FormatError) {
            try set(ZSTD_c_compressionLevel, Self.level)
            try set(ZSTD_c_contentSizeFlag, 1)
            try set(ZSTD_c_checksumFlag, 0)
            try set(ZSTD_c_dictIDFlag, 0)
        } catch {
            unsafe ZSTD_freeCCtx(context)
            throw error
        }
    }

    deinit { unsafe ZSTD_freeCCtx(context) }

    private func set(_ parameter: ZSTD_cParameter, _ value: Int) throws(FormatError) {
        _ = try ZstdResult.check(
            unsafe ZSTD_CCtx_setParameter(context, parameter, Int32(value)), "set up a zstd compressor")
    }

    /// Writes one frame that decodes with `base` to `source` and names its size; returns its length, nil when it does
    /// not fit `destination`: as soon as that is known, so a short destination bounds the time spent on data that has
    /// little in common with the base.
    package func compressIfFits(
        _ source: UnsafeRawBufferPointer, base: UnsafeRawBufferPointer,
        into destination: UnsafeMutableRawBufferPointer
    ) throws(FormatError) -> Int? {
        // The window reaches over both. The tables grow with it: the level's own are made for data that is compressed
        // by itself and forget most of a base of a megabyte before its counterpart comes.
        // A frame that did not fit left the context in the middle of it.
        unsafe ZSTD_CCtx_reset(context, ZSTD_reset_session_only)
        let windowLog = min(
            max(17, Int.bitWidth - (source.count + base.count).leadingZeroBitCount),
            ZstdDecompressor.maximumWindowLog)
        try set(ZSTD_c_windowLog, windowLog)
        try set(ZSTD_c_hashLog, max(17, windowLog - 4))
        try set(ZSTD_c_chainLog, max(16, windowLog - 5))
        _ = try ZstdResult.check(
            unsafe ZSTD_CCtx_refPrefix(context, base.baseAddress, base.count), "compress against a base")
        let result = unsafe ZSTD_compress2(
            context, destination.baseAddress, destination.count, source.baseAddress, source.count)
        if ZSTD_isError(result) != 0, ZSTD_getErrorCode(result) == ZSTD_error_dstSize_tooSmall { return nil }
        return try ZstdResult.check(result, "compress against a base")
    }
}
