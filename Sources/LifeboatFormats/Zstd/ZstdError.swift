// SPDX-License-Identifier: Apache-2.0

internal import CLibZstd

/// libzstd's result convention: a size, or an error code in disguise.
enum ZstdResult {
    /// The size libzstd returned, or its error as a `FormatError`.
    @inline(__always)
    static func check(_ result: Int, _ operation: @autoclosure () -> String) throws(FormatError) -> Int {
        if ZSTD_isError(result) != 0 { throw error(result, operation()) }
        return result
    }

    static func error(_ result: Int, _ operation: String) -> FormatError {
        let code = ZSTD_getErrorCode(result)
        let kind: FormatError.Kind
        switch code {
        case ZSTD_error_prefix_unknown, ZSTD_error_corruption_detected, ZSTD_error_checksum_wrong,
            ZSTD_error_literals_headerWrong:
            kind = .damaged
        case ZSTD_error_srcSize_wrong: kind = .truncated
        case ZSTD_error_dstSize_tooSmall: kind = .destinationTooSmall
        case ZSTD_error_frameParameter_unsupported, ZSTD_error_frameParameter_windowTooLarge,
            ZSTD_error_version_unsupported, ZSTD_error_parameter_unsupported, ZSTD_error_parameter_outOfBound,
            ZSTD_error_dictionary_wrong:
            kind = .unsupported
        case ZSTD_error_memory_allocation: kind = .outOfMemory
        default: kind = .library
        }
        // A constant string of the library, never null.
        let text = unsafe String(cString: ZSTD_getErrorName(result))
        return FormatError(kind, operation, code: Int(code.rawValue), text.prefix(1).lowercased() + text.dropFirst())
    }
}
