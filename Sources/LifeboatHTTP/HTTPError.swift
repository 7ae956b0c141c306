// SPDX-License-Identifier: Apache-2.0

import CLibCurl
package import LifeboatCore

/// Why a request has no usable answer. URLs in it are redacted.
package enum HTTPError: Error, LifeboatErrorConvertible {
    /// The request cannot be sent as it is.
    case invalidRequest(url: String, reason: String)
    /// The connection or the transfer failed. `code` is libcurl's; `status` the HTTP status when one had come.
    case transfer(method: HTTPMethod, url: String, code: Int32, reason: String, status: Int?)
    /// The answer, its headers or its body, is longer than is taken.
    case tooLong(method: HTTPMethod, url: String, limit: Int, status: Int)
    /// An answer with a status the caller cannot use, with the start of its body.
    case status(method: HTTPMethod, url: String, status: Int, body: String)
    /// What reads or writes the body failed.
    case body(any Error)
    case cancelled

    package var lifeboatError: LifeboatError {
        switch self {
        case .invalidRequest(let url, let reason):
            return LifeboatError("cannot ask '\(url)'", causes: [reason])
        case .transfer(let method, let url, let code, let reason, let status):
            var causes = ["\(reason) (curl \(code))"]
            if let status { causes.append("the server had answered with status \(status)") }
            return LifeboatError("\(method.rawValue) '\(url)' failed", causes: causes, hint: Self.hint(code))
        case .tooLong(let method, let url, let limit, let status):
            return LifeboatError(
                "\(method.rawValue) '\(url)' failed",
                causes: ["the answer (status \(status)) is longer than \(ByteCount(UInt64(clamping: limit)))"])
        case .status(let method, let url, let status, let body):
            var causes = ["the server answered with status \(status)"]
            if !body.isEmpty { causes.append("it said: \(body)") }
            return LifeboatError("\(method.rawValue) '\(url)' failed", causes: causes)
        case .body(let error): return LifeboatError.converting(error)
        case .cancelled: return .interrupted
        }
    }

    /// libcurl's code, for decisions; nil when libcurl did not fail.
    package var curlCode: Int32? {
        guard case .transfer(_, _, let code, _, _) = self else { return nil }
        return code
    }

    /// The status of the answer, if one came.
    package var status: Int? {
        switch self {
        case .transfer(_, _, _, _, let status): status
        case .tooLong(_, _, _, let status), .status(_, _, let status, _): status
        default: nil
        }
    }

    /// The same request may succeed a moment later.
    package var isTransient: Bool {
        switch self {
        case .transfer(_, _, let code, _, _):
            [
                CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT, CURLE_OPERATION_TIMEDOUT, CURLE_GOT_NOTHING,
                CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_PARTIAL_FILE, CURLE_SEND_FAIL_REWIND,
            ].contains { Int32($0.rawValue) == code }
        case .status(_, _, let status, _): [408, 429, 500, 502, 503, 504].contains(status)
        default: false
        }
    }

    private static func hint(_ code: Int32) -> String? {
        switch CURLcode(UInt32(bitPattern: code)) {
        case CURLE_COULDNT_CONNECT: "Is the service running, and does it listen on this address?"
        case CURLE_COULDNT_RESOLVE_HOST: "Check the host name and the name servers of this machine."
        case CURLE_OPERATION_TIMEDOUT: "The service is too slow or does not answer: look at its log."
        case CURLE_PEER_FAILED_VERIFICATION: "The certificate is not trusted: check its host name, dates and issuer."
        case CURLE_PARTIAL_FILE, CURLE_GOT_NOTHING, CURLE_RECV_ERROR:
            "The service closed the connection early: look at its log."
        default: nil
        }
    }
}

extension HTTPResponse {
    /// Self when the status is one of `statuses`; else an error with the start of the body.
    package func expecting(
        _ statuses: Range<Int> = 200..<300, of request: HTTPRequest
    ) throws(HTTPError) -> HTTPResponse {
        if statuses.contains(status) { return self }
        throw .status(
            method: request.method, url: RedactedURL.text(request.url), status: status, body: Self.excerpt(body))
    }

    /// The first 200 characters on one line.
    private static func excerpt(_ body: [UInt8]) -> String {
        let text = String(decoding: body.prefix(1000), as: UTF8.self)
        let line = text.split { $0.isWhitespace || $0.isNewline }.joined(separator: " ")
        let printable = line.unicodeScalars.map { $0.value < 32 || $0.value == 127 ? "?" : $0 }
        return String(String(String.UnicodeScalarView(printable)).prefix(200))
    }
}
