// SPDX-License-Identifier: Apache-2.0

internal import CLibZstd

/// Compresses buffers into whole zstd frames (RFC 8878). Owns one libzstd context and reuses its tables: keep one per
/// worker thread; not thread-safe.
@safe
package final class ZstdCompressor {
    /// Where the effort goes.
    package enum Strategy: Sendable, Equatable {
        /// A level of `zstd(1)`: 1...22, or negative for the fast ones.
        case level(Int)
        /// Hardly any search for repetitions, but entropy coding of every byte: for numbers such as model weights,
        /// which repeat nothing and still have skewed exponents. Costs far less than level 1 and gives as much there.
        case entropy
    }

    private let context: OpaquePointer

    /// Throws when libzstd refuses the level or has no memory.
    package convenience init(level: Int) throws(FormatError) { try self.init(.level(level)) }

    package init(_ strategy: Strategy) throws(FormatError) {
        guard let context = unsafe ZSTD_createCCtx() else {
            throw FormatError(.outOfMemory, "create a zstd compressor", "not enough memory")
        }
        unsafe self.context = unsafe context
        do throws(FormatError) {
            switch strategy {
            case .level(let level):
                let inRange = Int(ZSTD_minCLevel())...Int(ZSTD_maxCLevel())
                guard inRange.contains(level) else {
                    throw FormatError(
                        .unsupported, "create a zstd compressor", "there is no level \(level), only \(inRange)")
                }
                try set(ZSTD_c_compressionLevel, level)
            case .entropy:
                try set(ZSTD_c_compressionLevel, -5)
                // ZSTD_c_literalCompressionMode = ZSTD_ps_enable: the negative levels would leave literals raw.
                try set(ZSTD_c_experimentalParam5, 1)
            }
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
