// SPDX-License-Identifier: Apache-2.0

import CLibCurl
import Glibc
package import LifeboatCore

/// Where a byte stream goes to.
package struct RawAddress: Sendable, Equatable {
    /// How a TLS connection proves itself; the server's certificate is always verified, its name too.
    package struct TLS: Sendable, Equatable {
        /// A file of certificates to trust instead of the system's.
        package var authority: String?
        /// Files of the client's certificate and key, PEM.
        package var certificate: String?
        package var key: String?

        package init(authority: String? = nil, certificate: String? = nil, key: String? = nil) {
            self.authority = authority
            self.certificate = certificate
            self.key = key
        }
    }

    /// A name or address, IPv6 without brackets. With a socket it only names the server.
    package var host: String
    package var port: UInt16
    /// Path of a unix socket to connect to instead.
    package var unixSocket: String?
    package var tls: TLS?

    package init(host: String, port: UInt16, unixSocket: String? = nil, tls: TLS? = nil) {
        self.host = host
        self.port = port
        self.unixSocket = unixSocket
        self.tls = tls
    }

    /// `127.0.0.1:6379`, `/run/redis/redis.sock`.
    package var text: String { unixSocket ?? (host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)") }
}

/// Why a byte stream broke.
package enum RawConnectionError: Error, LifeboatErrorConvertible, Equatable {
    /// `code` is libcurl's.
    case unreachable(address: String, code: Int32, reason: String)
    /// The other side ended the stream while more was expected, or would not take what was sent.
    case closed(address: String)
    /// Not a byte came, or could be sent, for so long.
    case stalled(address: String, seconds: Double)
    case failed(address: String, code: Int32, reason: String)
    case cancelled

    /// Nobody listens at the address: the host refused, or there is no such socket. A timeout or a failed handshake is
    /// no proof of that.
    package var isNobodyThere: Bool {
        guard case .unreachable(_, let code, _) = self else { return false }
        return code == Int32(CURLE_COULDNT_CONNECT.rawValue)
    }

    package var lifeboatError: LifeboatError {
        switch self {
        case .unreachable(let address, let code, let reason):
            LifeboatError("cannot reach the server at \(address)", causes: ["\(reason) (curl \(code))"])
        case .closed(let address): LifeboatError("the server at \(address) closed the connection")
        case .stalled(let address, let seconds):
            LifeboatError("the server at \(address) said nothing for \(Int(seconds.rounded())) s")
        case .failed(let address, let code, let reason):
            LifeboatError("the connection to \(address) broke", causes: ["\(reason) (curl \(code))"])
        case .cancelled: .interrupted
        }
    }
}

/// A byte stream to a server that speaks something else than HTTP: TCP, TLS or a unix socket, by libcurl.
///
/// Blocking, and for one thread at a time. Waits end within a tenth of a second of a cancellation. A process that speaks
/// TLS must ignore SIGPIPE.
@safe package final class RawConnection: @unchecked Sendable {
    // Sendable: used by one thread at a time, by contract; libcurl allows handles to move between threads
    // (libcurl-thread(3)).
    private let handle: UnsafeMutableRawPointer
    private let socket: Int32
    private let cancellation: Cancellation?
    /// Seconds without a byte until `stalled`.
    private let stall: Double
    package let address: RawAddress

    /// What libcurl's progress callback looks at while it connects.
    private final class Progress {
        let cancellation: Cancellation?
        init(_ cancellation: Cancellation?) { self.cancellation = cancellation }
    }

    /// Connects. `connectTimeout` and `stall` in seconds.
    package init(
        _ address: RawAddress, connectTimeout: Double = 10, stall: Double = 60, cancellation: Cancellation? = nil
    ) throws(RawConnectionError) {
        guard globalInitialization == CURLE_OK, let handle = unsafe curl_easy_init() else {
            throw .unreachable(
                address: address.text, code: Int32(CURLE_FAILED_INIT.rawValue), reason: "libcurl cannot be initialised")
        }
        let outcome = unsafe Self.connect(handle, address, connectTimeout, cancellation)
        guard case .success(let socket) = outcome else {
            unsafe curl_easy_cleanup(handle)
            throw outcome.failure ?? .closed(address: address.text)
        }
        unsafe self.handle = unsafe handle
        self.socket = socket
        self.address = address
        self.stall = stall
        self.cancellation = cancellation
    }

    deinit { unsafe curl_easy_cleanup(handle) }

    private static func connect(
        _ handle: UnsafeMutableRawPointer, _ address: RawAddress, _ timeout: Double, _ cancellation: Cancellation?
    ) -> Result<Int32, RawConnectionError> {
        var options = unsafe EasyOptions(handle: handle)
        let host = address.host.contains(":") ? "[\(address.host)]" : address.host
        options.set(CURLOPT_URL, "\(address.tls == nil ? "http" : "https")://\(host):\(address.port)")
        options.set(CURLOPT_CONNECT_ONLY, 1)
        options.set(CURLOPT_NOSIGNAL, 1)
        options.set(CURLOPT_PROXY, "")
        options.set(CURLOPT_TCP_KEEPALIVE, 1)
        options.set(CURLOPT_CONNECTTIMEOUT_MS, Int(max(1, min(timeout * 1000, 1e9).rounded(.up))))
        if let path = address.unixSocket { options.set(CURLOPT_UNIX_SOCKET_PATH, path) }
        if let tls = address.tls {
            // "http/1.1" would be a lie.
            options.set(CURLOPT_SSL_ENABLE_ALPN, 0)
            if let path = tls.authority { options.set(CURLOPT_CAINFO, path) }
            if let path = tls.certificate { options.set(CURLOPT_SSLCERT, path) }
            if let path = tls.key { options.set(CURLOPT_SSLKEY, path) }
        }
        let progress = Progress(cancellation)
        unsafe options.setProgress(Unmanaged.passUnretained(progress).toOpaque()) { context, _, _, _, _ in
            // The context is the object above, which lives until curl_easy_perform has returned.
            let progress = unsafe Unmanaged<Progress>.fromOpaque(context!).takeUnretainedValue()
            return progress.cancellation?.isCancelled == true ? 1 : 0
        }
        guard options.firstFailure == CURLE_OK else {
            return .failure(unreachable(address, options.firstFailure))
        }
        let code = withExtendedLifetime(progress) { unsafe curl_easy_perform(handle) }
        if code == CURLE_ABORTED_BY_CALLBACK, cancellation?.isCancelled == true { return .failure(.cancelled) }
        guard code == CURLE_OK else { return .failure(unreachable(address, code)) }
        unsafe options.setProgress(nil) { _, _, _, _, _ in 0 }
        var socket = curl_socket_t(-1)
        guard unsafe lifeboat_curl_active_socket(handle, &socket) == CURLE_OK, socket >= 0 else {
            return .failure(.closed(address: address.text))
        }
        return .success(socket)
    }

    private static func unreachable(_ address: RawAddress, _ code: CURLcode) -> RawConnectionError {
        .unreachable(
            address: address.text, code: Int32(bitPattern: code.rawValue), reason: EasyHandle.text(code))
    }

    /// Sends all of `bytes`.
    package func send(_ bytes: [UInt8]) throws(RawConnectionError) {
        var done = 0
        var quiet = Quiet()
        while done < bytes.count {
            if cancellation?.isCancelled == true { throw .cancelled }
            var sent = 0
            let code = unsafe bytes.withUnsafeBytes { buffer in
                unsafe curl_easy_send(handle, buffer.baseAddress! + done, buffer.count - done, &sent)
            }
            switch code {
            case CURLE_OK:
                done += sent
                quiet = Quiet()
            case CURLE_AGAIN: try wait(POLLOUT, &quiet)
            default: throw broken(code)
            }
        }
    }

    /// The next bytes, at least one; 0 when the other side has ended the stream. Ends early, with `cancelled`, when
    /// `stop` is cancelled too.
    package func receive(
        into buffer: UnsafeMutableRawBufferPointer, stop: Cancellation? = nil
    ) throws(RawConnectionError) -> Int {
        guard buffer.count > 0 else { return 0 }
        var quiet = Quiet()
        while true {
            if cancellation?.isCancelled == true || stop?.isCancelled == true { throw .cancelled }
            var count = 0
            // TLS may hold decoded bytes that poll(2) knows nothing of: always ask first.
            switch unsafe curl_easy_recv(handle, buffer.baseAddress, buffer.count, &count) {
            case CURLE_OK: return count
            case CURLE_AGAIN: try wait(POLLIN, &quiet)
            case CURLE_UNSUPPORTED_PROTOCOL, CURLE_GOT_NOTHING: return 0
            case let code: throw broken(code)
            }
        }
    }

    /// For how long nothing has moved.
    private struct Quiet { var since: ContinuousClock.Instant? }

    private func wait(_ events: Int32, _ quiet: inout Quiet) throws(RawConnectionError) {
        let now = ContinuousClock.now
        let since = quiet.since ?? now
        quiet.since = since
        guard now - since < .seconds(stall) else { throw .stalled(address: address.text, seconds: stall) }
        var descriptor = pollfd(fd: socket, events: Int16(events), revents: 0)
        _ = unsafe poll(&descriptor, 1, 100)
    }

    private func broken(_ code: CURLcode) -> RawConnectionError {
        .failed(address: address.text, code: Int32(bitPattern: code.rawValue), reason: EasyHandle.text(code))
    }
}

extension Result {
    fileprivate var failure: Failure? {
        guard case .failure(let failure) = self else { return nil }
        return failure
    }
}
