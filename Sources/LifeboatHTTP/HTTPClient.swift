// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import Synchronization

/// A blocking HTTP client over libcurl. Thread-safe: each `send` works on a handle of its own, and handles are kept with
/// their connections for the next request. A process that speaks TLS must ignore SIGPIPE.
package final class HTTPClient: Sendable {
    /// Handles that wait for a request. More than this many at rest are closed.
    private static let maximumIdle = 16
    private let idle = Mutex<[EasyHandle]>([])

    package init() {}

    /// Sends and waits for the whole answer, of any status. The body is kept in memory, at most `request.bodyLimit`
    /// bytes. A cancellation is seen within a second.
    package func send(
        _ request: HTTPRequest, cancellation: Cancellation? = nil
    ) throws(HTTPError) -> HTTPResponse {
        unsafe try perform(request, sink: nil, cancellation)
    }

    /// Sends, and hands the body of a 2xx answer to `sink` piece by piece, on this thread; what it throws ends the
    /// request and is thrown on as `HTTPError.body`. The body of any other answer is in the response, cut at 64 KiB.
    package func send(
        _ request: HTTPRequest, cancellation: Cancellation? = nil,
        receiving sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws(HTTPError) -> HTTPResponse {
        let outcome = unsafe withoutActuallyEscaping(sink) { escaping -> Result<HTTPResponse, HTTPError> in
            do throws(HTTPError) {
                return .success(unsafe try perform(request, sink: escaping, cancellation))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    private func perform(
        _ request: HTTPRequest, sink: ((UnsafeRawBufferPointer) throws -> Void)?, _ cancellation: Cancellation?
    ) throws(HTTPError) -> HTTPResponse {
        if cancellation?.isCancelled == true { throw .cancelled }
        try HTTPRequestRules.check(request)
        let handle: EasyHandle
        if let kept = idle.withLock({ $0.popLast() }) {
            handle = kept
        } else {
            handle = try EasyHandle(for: request)
        }
        defer {
            handle.reset()
            idle.withLock { handles in
                if handles.count < Self.maximumIdle { handles.append(handle) }
            }
        }
        let transfer = unsafe HTTPTransfer(request, sink: sink, cancellation: cancellation)
        return try handle.perform(request, transfer)
    }
}
