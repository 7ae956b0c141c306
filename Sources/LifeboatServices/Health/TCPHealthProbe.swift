// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LifeboatCore
import LifeboatIO

/// A TCP connection can be made.
package struct TCPHealthProbe: HealthProbe {
    private let host: String
    private let port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    package var subject: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Tries each address of the host until one answers.
    package func ask(timeout: Double, cancellation: Cancellation?) throws {
        let end = SystemClock().monotonicSeconds() + timeout
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICSERV
        var found: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, "\(port)", &hints, &found)
        guard status == 0, let first = found else {
            throw LifeboatError("cannot find the address of '\(host)'", causes: [String(cString: gai_strerror(status))])
        }
        defer { freeaddrinfo(first) }
        var failure = LifeboatError("'\(host)' has no address")
        var next: UnsafeMutablePointer<addrinfo>? = first
        while let address = next?.pointee {
            do {
                return try connect(to: address, until: end, cancellation)
            } catch let error as SystemCallError {
                failure = LifeboatError("cannot connect", causes: [SystemCallError.describe(error.errorNumber)])
            }
            next = address.ai_next
        }
        throw failure
    }

    private func connect(to address: addrinfo, until end: Double, _ cancellation: Cancellation?) throws {
        let raw = socket(
            address.ai_family, address.ai_socktype | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard raw >= 0 else { throw SystemCallError("make a socket for", subject) }
        let descriptor = OwnedDescriptor(owning: raw)
        if Glibc.connect(descriptor.raw, address.ai_addr, address.ai_addrlen) == 0 { return }
        guard errno == EINPROGRESS else { throw SystemCallError("connect to", subject) }
        while true {
            try cancellation?.check()
            let left = end - SystemClock().monotonicSeconds()
            guard left > 0 else { throw SystemCallError("connect to", subject, errorNumber: ETIMEDOUT) }
            var waiting = pollfd(fd: descriptor.raw, events: Int16(POLLOUT), revents: 0)
            let ready = poll(&waiting, 1, Int32(min(left * 1000, 100).rounded(.up)))
            if ready < 0, errno != EINTR { throw SystemCallError("wait for", subject) }
            if ready > 0 { break }
        }
        var problem: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor.raw, SOL_SOCKET, SO_ERROR, &problem, &length) == 0 else {
            throw SystemCallError("look at the connection to", subject)
        }
        guard problem == 0 else { throw SystemCallError("connect to", subject, errorNumber: problem) }
    }
}
