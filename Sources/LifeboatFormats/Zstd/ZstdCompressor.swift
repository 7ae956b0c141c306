// SPDX-License-Identifier: Apache-2.0

internal import CLibZstd

/// Compresses buffers into whole zstd frames (RFC 8878). Owns one libzstd context and reuses its tables: keep one per
/// worker thread; not thread-safe.
@safe
package final class ZstdCompressor {
    private let context: OpaquePointer

    /// `level` is one of `zstd(1)`: 1...22, or negative for the fast ones. Throws when there is no such level, or no
    /// memory.
    package init(level: Int) throws(FormatError) {
        let levels = Int(ZSTD_minCLevel())...Int(ZSTD_maxCLevel())
        guard levels.contains(level) else {
            throw FormatError(
                .unsupported, "create a zstd compressor", "there is no level \(level), only \(levels)")
        }
        guard let context = unsafe ZSTD_createCCtx() else {
            throw FormatError(.outOfMemory, "create a zstd compressor", "not enough memory")
        }
        unsafe self.context = unsafe context
        do throws(FormatError) {
            try set(ZSTD_c_compressionLevel, level)
            try set(ZSTD_c_contentSizeFlag, 1)
            // The pack's name is a digest of these bytes and every chunk's id one of the plain bytes.
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

    /// Writes one frame that decodes to `source` and names its size; returns the length of the frame.
    ///
    /// `destination` of `bound(source.count)` bytes always suffices; a frame that does not fit a shorter one throws
    /// `destinationTooSmall`.
    package func compress(
        _ source: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer
    ) throws(FormatError) -> Int {
        try ZstdResult.check(unsafe compressResult(source, destination), "compress into a zstd frame")
    }

    /// Like `compress`, but nil when the frame does not fit `destination`: give one a little shorter than the source
    /// and data that does not shrink is given up on without an error.
    package func compressIfFits(
        _ source: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer
    ) throws(FormatError) -> Int? {
        let result = unsafe compressResult(source, destination)
        if ZSTD_isError(result) != 0, ZSTD_getErrorCode(result) == ZSTD_error_dstSize_tooSmall { return nil }
        return try ZstdResult.check(result, "compress into a zstd frame")
    }

    private func compressResult(
        _ source: UnsafeRawBufferPointer, _ destination: UnsafeMutableRawBufferPointer
    ) -> Int {
        unsafe ZSTD_compress2(
            context, destination.baseAddress, destination.count, source.baseAddress, source.count)
    }

    /// The longest frame that `n` bytes can become.
    package static func bound(_ n: Int) -> Int { ZSTD_compressBound(n) }
}
