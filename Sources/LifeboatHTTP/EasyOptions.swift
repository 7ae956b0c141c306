// SPDX-License-Identifier: Apache-2.0

import CLibCurl
import Glibc

/// Sets options on an easy handle and remembers the first refusal. Safe: the handle outlives it, by the contract of `init`.
@safe struct EasyOptions {
    private let handle: UnsafeMutableRawPointer
    private(set) var firstFailure = CURLE_OK

    /// `handle` must outlive this value.
    init(handle: UnsafeMutableRawPointer) { unsafe self.handle = unsafe handle }

    private mutating func note(_ code: CURLcode) {
        if firstFailure == CURLE_OK { firstFailure = code }
    }

    mutating func set(_ option: CURLoption, _ value: Int) { note(unsafe lifeboat_curl_set_long(handle, option, value)) }

    mutating func set(_ option: CURLoption, _ value: String) {
        note(unsafe lifeboat_curl_set_text(handle, option, value))
    }

    mutating func setLength(_ length: Int64, _ option: CURLoption) {
        note(unsafe lifeboat_curl_set_offset(handle, option, curl_off_t(length)))
    }

    mutating func setHeaders(_ list: UnsafeMutablePointer<curl_slist>?) {
        note(unsafe lifeboat_curl_set_headers(handle, list))
    }

    /// `context` must live until it is replaced.
    mutating func setProgress(_ context: UnsafeMutableRawPointer?, _ callback: @escaping curl_xferinfo_callback) {
        note(unsafe lifeboat_curl_set_pointer(handle, CURLOPT_XFERINFODATA, context))
        note(unsafe lifeboat_curl_set_long(handle, CURLOPT_NOPROGRESS, context == nil ? 1 : 0))
        note(unsafe lifeboat_curl_set_progress_callback(handle, callback))
    }

    /// The transfer goes through C unretained: `EasyHandle.perform` keeps it alive until libcurl is done with it, and
    /// `reset` takes the pointer away.
    mutating func setCallbacks(_ transfer: HTTPTransfer) {
        let context = unsafe Unmanaged.passUnretained(transfer).toOpaque()
        for option in [CURLOPT_HEADERDATA, CURLOPT_WRITEDATA, CURLOPT_READDATA, CURLOPT_SEEKDATA, CURLOPT_XFERINFODATA]
        {
            note(unsafe lifeboat_curl_set_pointer(handle, option, context))
        }
        note(
            unsafe lifeboat_curl_set_data_callback(handle, CURLOPT_HEADERFUNCTION) { data, size, count, context in
                let line = unsafe UnsafeRawBufferPointer(start: data, count: size * count)
                return unsafe transferOf(context).receiveHeader(line) ? line.count : line.count &+ 1
            })
        note(
            unsafe lifeboat_curl_set_data_callback(handle, CURLOPT_WRITEFUNCTION) { data, size, count, context in
                let piece = unsafe UnsafeRawBufferPointer(start: data, count: size * count)
                // Any other count than what was given means "stop".
                return unsafe transferOf(context).receiveBody(piece) ? piece.count : piece.count &+ 1
            })
        note(
            unsafe lifeboat_curl_set_data_callback(handle, CURLOPT_READFUNCTION) { data, size, count, context in
                let buffer = unsafe UnsafeMutableRawBufferPointer(start: data, count: size * count)
                return unsafe transferOf(context).provideBody(buffer) ?? Int(CURL_READFUNC_ABORT)
            })
        note(
            unsafe lifeboat_curl_set_seek_callback(handle) { context, offset, origin in
                guard origin == SEEK_SET, unsafe transferOf(context).rewindBody(to: Int64(offset)) else {
                    return CURL_SEEKFUNC_CANTSEEK
                }
                return CURL_SEEKFUNC_OK
            })
        note(unsafe lifeboat_curl_set_long(handle, CURLOPT_NOPROGRESS, 0))
        note(
            unsafe lifeboat_curl_set_progress_callback(handle) { context, _, _, _, _ in
                unsafe transferOf(context).isCancelled ? 1 : 0
            })
    }
}

/// The transfer of a callback. The context is the one `setCallbacks` gave, so it is never nil.
@unsafe private func transferOf(_ context: UnsafeMutableRawPointer?) -> HTTPTransfer {
    unsafe Unmanaged<HTTPTransfer>.fromOpaque(context!).takeUnretainedValue()
}
