// SPDX-License-Identifier: Apache-2.0

import CLibCurl
import Glibc

/// curl_global_init(3), which must run once before any other call; a static is initialised once, whatever the thread.
let globalInitialization: CURLcode = curl_global_init(Int(CURL_GLOBAL_SSL | CURL_GLOBAL_WIN32))

/// Owns one easy handle with its connections. Safe: the handle lives as long as this object and never leaves it.
@safe final class EasyHandle: @unchecked Sendable {
    // Sendable: `HTTPClient` takes a handle out of its pool for one request, so one thread uses it at a time; libcurl
    // allows handles to move between threads (libcurl-thread(3)).
    private let handle: UnsafeMutableRawPointer

    init(for request: HTTPRequest) throws(HTTPError) {
        guard globalInitialization == CURLE_OK, let handle = unsafe curl_easy_init() else {
            throw .invalidRequest(url: RedactedURL.text(request.url), reason: "libcurl cannot be initialised")
        }
        unsafe self.handle = unsafe handle
    }

    deinit { unsafe curl_easy_cleanup(handle) }

    /// Forgets all options, and with them every pointer into the last request; keeps connections.
    func reset() { unsafe curl_easy_reset(handle) }

    /// `reset` must follow, whatever the outcome.
    func perform(_ request: HTTPRequest, _ transfer: HTTPTransfer) throws(HTTPError) -> HTTPResponse {
        let url = RedactedURL.text(request.url)
        let list = unsafe try headerList(request)
        // Released here and nowhere else: libcurl only borrows it, and the `reset` that follows forgets it.
        defer { unsafe curl_slist_free_all(list) }
        let setup = unsafe configure(request, transfer, list)
        guard setup == CURLE_OK else {
            throw .invalidRequest(url: url, reason: "libcurl refuses it: \(Self.text(setup))")
        }
        let code = withExtendedLifetime(transfer) { unsafe curl_easy_perform(handle) }
        if let failure = transfer.failure { throw failure }
        if code == CURLE_ABORTED_BY_CALLBACK, transfer.isCancelled { throw .cancelled }
        guard code == CURLE_OK else {
            throw .transfer(
                method: request.method, url: url, code: Int32(bitPattern: code.rawValue), reason: Self.text(code),
                status: transfer.status == 0 ? nil : transfer.status)
        }
        return HTTPResponse(status: transfer.status, headers: transfer.headers, body: transfer.body)
    }

    /// libcurl's fixed text for a code: unlike its error buffer it never repeats a part of the URL.
    static func text(_ code: CURLcode) -> String {
        guard let pointer = unsafe curl_easy_strerror(code) else { return "unknown error" }
        let text = unsafe String(cString: pointer)
        return text.prefix(1).lowercased() + text.dropFirst()
    }

    private func headerList(_ request: HTTPRequest) throws(HTTPError) -> UnsafeMutablePointer<curl_slist>? {
        // Without this libcurl waits a second for "100 Continue" before it sends a long body.
        var lines = ["Expect:"]
        for header in request.headers {
            // "Name;" is how libcurl is told to send a header with an empty value.
            lines.append(header.value.isEmpty ? "\(header.name);" : "\(header.name): \(header.value)")
        }
        var list: UnsafeMutablePointer<curl_slist>?
        for line in lines {
            guard let longer = unsafe curl_slist_append(list, line) else {
                unsafe curl_slist_free_all(list)
                throw .invalidRequest(url: RedactedURL.text(request.url), reason: "out of memory")
            }
            unsafe list = unsafe longer
        }
        return unsafe list
    }

    // MARK: Options

    /// The first code that is not CURLE_OK, else that.
    private func configure(
        _ request: HTTPRequest, _ transfer: HTTPTransfer, _ list: UnsafeMutablePointer<curl_slist>?
    ) -> CURLcode {
        var options = unsafe EasyOptions(handle: handle)
        options.set(CURLOPT_URL, request.url)
        options.set(CURLOPT_PROTOCOLS_STR, "http,https")
        options.set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https")
        // libcurl's time-outs by signal would hit any thread of the program.
        options.set(CURLOPT_NOSIGNAL, 1)
        options.set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        options.set(CURLOPT_FOLLOWLOCATION, request.redirects > 0 ? 1 : 0)
        options.set(CURLOPT_MAXREDIRS, request.redirects)
        options.set(CURLOPT_CONNECTTIMEOUT_MS, Self.milliseconds(request.timeouts.connect))
        options.set(CURLOPT_TIMEOUT_MS, request.timeouts.total.map(Self.milliseconds) ?? 0)
        if let stall = request.timeouts.stall {
            options.set(CURLOPT_LOW_SPEED_LIMIT, 1)
            options.set(CURLOPT_LOW_SPEED_TIME, (Self.milliseconds(stall) + 999) / 1000)
        }
        switch request.proxy {
        case .environment where !HTTPRequestRules.isLoopback(request.url) && request.unixSocket == nil: break
        case .none, .environment: options.set(CURLOPT_PROXY, "")
        case .url(let proxy): options.set(CURLOPT_PROXY, proxy)
        }
        if let path = request.unixSocket { options.set(CURLOPT_UNIX_SOCKET_PATH, path) }
        if let path = request.certificates { options.set(CURLOPT_CAINFO, path) }
        switch request.method {
        case .get: options.set(CURLOPT_HTTPGET, 1)
        case .head: options.set(CURLOPT_NOBODY, 1)
        case .put: options.set(CURLOPT_UPLOAD, 1)
        case .post: options.set(CURLOPT_POST, 1)
        case .delete: options.set(CURLOPT_CUSTOMREQUEST, "DELETE")
        }
        options.setLength(
            Self.length(of: request.body),
            request.method == .post ? CURLOPT_POSTFIELDSIZE_LARGE : CURLOPT_INFILESIZE_LARGE)
        unsafe options.setHeaders(list)
        options.setCallbacks(transfer)
        return options.firstFailure
    }

    private static func length(of body: HTTPBody) -> Int64 {
        switch body {
        case .none: 0
        case .bytes(let bytes): Int64(bytes.count)
        case .stream(let length, _): Int64(clamping: length)
        }
    }

    private static func milliseconds(_ seconds: Double) -> Int {
        Int(max(1, min(seconds * 1000, 1e9).rounded(.up)))
    }
}
