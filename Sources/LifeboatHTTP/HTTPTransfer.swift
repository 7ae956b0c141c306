// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// What libcurl's callbacks work on during one request, on the thread of that request alone. Swift errors cannot pass
/// through C: they are kept here, the callback makes libcurl stop, and `EasyHandle.perform` throws them.
/// Safe: buffers are used only during the call that gives them.
@safe final class HTTPTransfer {
    /// Header lines of all answers to one request together; more is an attack or a mistake.
    private static let maximumHeaderBytes = 256 << 10
    /// Kept of an answer that is not streamed because its status is no success.
    private static let maximumErrorBody = 64 << 10

    private(set) var status = 0
    private(set) var headers: [HTTPHeader] = []
    private(set) var body: [UInt8] = []
    private(set) var failure: HTTPError?

    private let request: HTTPRequest
    private let sink: ((UnsafeRawBufferPointer) throws -> Void)?
    private let cancellation: Cancellation?
    private var headerBytes = 0
    private var sent: UInt64 = 0

    init(
        _ request: HTTPRequest, sink: ((UnsafeRawBufferPointer) throws -> Void)?, cancellation: Cancellation?
    ) {
        self.request = request
        unsafe self.sink = unsafe sink
        self.cancellation = cancellation
    }

    var isCancelled: Bool { cancellation?.isCancelled ?? false }

    /// One header line with its line end. False: stop.
    func receiveHeader(_ line: UnsafeRawBufferPointer) -> Bool {
        headerBytes += line.count
        guard headerBytes <= Self.maximumHeaderBytes else {
            failure = tooLong(Self.maximumHeaderBytes)
            return false
        }
        let text = unsafe String(decoding: line, as: UTF8.self)
        if text.hasPrefix("HTTP/") {
            // A new answer begins: after "100 Continue" or a redirect only the last one counts.
            status = text.split(separator: " ").dropFirst().first.flatMap { Int($0.prefix(3)) } ?? 0
            headers = []
            body = []
        } else if let colon = text.firstIndex(of: ":") {
            let value = text[text.index(after: colon)...]
            headers.append(HTTPHeader(Self.trimmed(text[..<colon]), Self.trimmed(value)))
        }
        return true
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text.drop { $0.isWhitespace }
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text)
    }

    /// A piece of the body. False: stop.
    func receiveBody(_ piece: UnsafeRawBufferPointer) -> Bool {
        guard let sink = unsafe sink else {
            guard piece.count <= request.bodyLimit - body.count else {
                failure = tooLong(request.bodyLimit)
                return false
            }
            unsafe body.append(contentsOf: piece)
            return true
        }
        guard (200..<300).contains(status) else {
            unsafe body.append(contentsOf: piece.prefix(max(0, Self.maximumErrorBody - body.count)))
            return true
        }
        do {
            try unsafe sink(piece)
            return true
        } catch {
            failure = .body(error)
            return false
        }
    }

    /// Fills `buffer` with what is sent next; 0 at the end, nil: stop.
    func provideBody(_ buffer: UnsafeMutableRawBufferPointer) -> Int? {
        switch request.body {
        case .none: return 0
        case .bytes(let bytes):
            let start = Int(sent)
            let count = min(buffer.count, bytes.count - start)
            unsafe buffer.copyBytes(from: bytes[start..<start + count])
            sent += UInt64(count)
            return count
        case .stream(let length, let read):
            let wanted = Int(min(UInt64(buffer.count), length - sent))
            guard wanted > 0 else { return 0 }
            do {
                let count = try unsafe read(UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]))
                guard (1...wanted).contains(count) else {
                    failure = .invalidRequest(
                        url: RedactedURL.text(request.url), reason: "its body ended after \(sent) of \(length) bytes")
                    return nil
                }
                sent += UInt64(count)
                return count
            } catch {
                failure = .body(error)
                return nil
            }
        }
    }

    /// libcurl wants to send the body again from `offset`, on a new connection. False when it is gone.
    func rewindBody(to offset: Int64) -> Bool {
        switch request.body {
        case .none: return true
        case .bytes(let bytes):
            guard (0...Int64(bytes.count)).contains(offset) else { return false }
            sent = UInt64(offset)
            return true
        case .stream: return UInt64(exactly: offset) == sent
        }
    }

    private func tooLong(_ limit: Int) -> HTTPError {
        .tooLong(method: request.method, url: RedactedURL.text(request.url), limit: limit, status: status)
    }
}
