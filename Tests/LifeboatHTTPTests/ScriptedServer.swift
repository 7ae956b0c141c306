// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatIO

/// A small blocking HTTP server on a thread of its own: each connection is handed to the test's script.
final class ScriptedServer: Sendable {
    /// One accepted connection.
    struct Connection {
        let descriptor: Int32

        /// The request up to its blank line, and `Content-Length` bytes of body.
        func readRequest() -> (head: String, body: [UInt8])? {
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 64 << 10)
            while true {
                if let end = bytes.firstRange(of: [13, 10, 13, 10]) {
                    let head = String(decoding: bytes[..<end.lowerBound], as: UTF8.self)
                    let length =
                        head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
                        .flatMap { Int($0.split(separator: ":")[1].drop { $0 == " " }) } ?? 0
                    if bytes.count >= end.upperBound + length { return (head, Array(bytes[end.upperBound...])) }
                }
                let count = recv(descriptor, &buffer, buffer.count, 0)
                guard count > 0 else { return nil }
                bytes += buffer[..<count]
            }
        }

        /// False when the client is gone.
        @discardableResult
        func write(_ text: String) -> Bool { write(Array(text.utf8)) }

        @discardableResult
        func write(_ bytes: [UInt8]) -> Bool {
            var done = 0
            while done < bytes.count {
                let count = bytes[done...].withUnsafeBytes {
                    send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { return false }
                done += count
            }
            return true
        }
    }

    let port: UInt16
    private let listener: Int32
    private let stopping: Monitor<Bool>

    /// On a free port of 127.0.0.1, or on a unix socket. `script` runs on a thread per connection.
    init(unixSocket path: String? = nil, _ script: @escaping @Sendable (Connection) -> Void) throws {
        let descriptor = socket(path == nil ? AF_INET : AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw SystemCallError("make a socket for", path ?? "127.0.0.1") }
        let bound: Int32
        if let path {
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
            bound = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        } else {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            bound = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        guard bound == 0, listen(descriptor, 64) == 0 else { throw SystemCallError("listen on", path ?? "127.0.0.1") }
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        if path == nil {
            _ = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
            }
        }
        port = UInt16(bigEndian: address.sin_port)
        listener = descriptor
        let stopping = Monitor(false)
        self.stopping = stopping
        _ = BlockingThread<Void>(name: "test-server") {
            while true {
                let connection = accept(descriptor, nil, nil)
                guard connection >= 0 else { break }
                _ = BlockingThread<Void>(name: "test-client") {
                    script(Connection(descriptor: connection))
                    close(connection)
                }
            }
            close(descriptor)
        }
    }

    var url: String { "http://127.0.0.1:\(port)" }

    /// Takes no more connections.
    func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

    deinit { stop() }
}
