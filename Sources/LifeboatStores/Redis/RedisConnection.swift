// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatHTTP

/// Where a Redis or Valkey server is, and as whom to talk to it.
package struct RedisEndpoint: Sendable {
    package var address: RawAddress
    /// Nil: the user `default`.
    package var user: String?
    package var password: Secret?
    /// Seconds to connect, and seconds without a byte until the server counts as hung.
    package var connectTimeout: Double
    package var stall: Double

    package init(
        _ address: RawAddress, user: String? = nil, password: Secret? = nil, connectTimeout: Double = 10,
        stall: Double = 60
    ) {
        self.address = address
        self.user = user
        self.password = password
        self.connectTimeout = connectTimeout
        self.stall = stall
    }
}

/// An answer of the server (RESP2).
package enum RedisReply: Sendable, Equatable {
    case status(String)
    case integer(Int64)
    case bytes([UInt8])
    case list([RedisReply])
    case null
    /// An error inside a list; at the top it is thrown.
    case error(code: String, message: String)

    package var text: String? {
        switch self {
        case .status(let text): text
        case .bytes(let bytes): String(decoding: bytes, as: UTF8.self)
        case .integer(let number): "\(number)"
        case .list, .null, .error: nil
        }
    }

    package var items: [RedisReply] {
        guard case .list(let items) = self else { return [] }
        return items
    }
}

/// One authenticated session. Blocking, and for one thread at a time.
package final class RedisConnection: @unchecked Sendable {
    // Sendable: used by one thread at a time, by contract, like the connection below it.
    /// An answer of a command is smaller; only a dump is not, and is not read as one.
    private static let replyLimit = 512 << 20
    private static let lineLimit = 64 << 10
    private static let depthLimit = 8

    private let raw: RawConnection
    private var buffer = [UInt8](repeating: 0, count: 64 << 10)
    private var position = 0
    private var end = 0
    package let address: String
    /// Ends waits early when it is cancelled, like the cancellation of `init`.
    var stop: Cancellation?

    /// Connects and logs in.
    package init(_ endpoint: RedisEndpoint, cancellation: Cancellation? = nil) throws(RedisError) {
        address = endpoint.address.text
        do {
            raw = try RawConnection(
                endpoint.address, connectTimeout: endpoint.connectTimeout, stall: endpoint.stall,
                cancellation: cancellation)
        } catch {
            throw .connection(error)
        }
        guard let password = endpoint.password else { return }
        let words = password.reveal { plain in
            ["AUTH"] + (endpoint.user.map { [$0] } ?? []) + [plain]
        }
        _ = try command(words, named: "AUTH")
    }

    /// Sends a command and waits for its answer; an error of the server is thrown.
    @discardableResult
    package func command(_ words: [String]) throws(RedisError) -> RedisReply {
        // Arguments may be secrets: messages tell the first word, and the second of commands that have parts.
        let name = words.first ?? ""
        let hasParts = ["CONFIG", "REPLCONF", "FUNCTION", "MODULE", "CLIENT"].contains(name)
        return try command(words, named: hasParts && words.count > 1 ? "\(name) \(words[1])" : name)
    }

    @discardableResult
    package func command(_ words: String...) throws(RedisError) -> RedisReply { try command(words) }

    private func command(_ words: [String], named name: String) throws(RedisError) -> RedisReply {
        try send(words)
        let reply = try self.reply(depth: 0)
        if case .error(let code, let message) = reply {
            throw .refused(address: address, command: name, code: code, message: message)
        }
        return reply
    }

    /// Sends without waiting.
    func send(_ words: [String]) throws(RedisError) {
        var bytes = Array("*\(words.count)\r\n".utf8)
        for word in words {
            bytes += Array("$\(word.utf8.count)\r\n".utf8)
            bytes += Array(word.utf8)
            bytes += [0x0D, 0x0A]
        }
        do {
            try raw.send(bytes)
        } catch {
            throw .connection(error)
        }
    }

    // MARK: Reading

    private func fill() throws(RedisError) {
        if position == end {
            position = 0
            end = 0
        }
        if end == buffer.count {
            guard position > 0 else { throw violation("a line is too long") }
            buffer.removeSubrange(..<position)
            end -= position
            position = 0
            buffer += [UInt8](repeating: 0, count: (64 << 10) - buffer.count)
        }
        let count: Int
        do {
            count = try receive()
        } catch {
            throw .connection(error)
        }
        guard count > 0 else { throw .connection(.closed(address: address)) }
        end += count
    }

    private func receive() throws(RawConnectionError) -> Int {
        let raw = raw
        let stop = stop
        let start = end
        // A typed throw does not pass through withUnsafeMutableBytes of a stored property under `inout`.
        let outcome = buffer.withUnsafeMutableBytes { all -> Result<Int, RawConnectionError> in
            do throws(RawConnectionError) {
                let free = UnsafeMutableRawBufferPointer(rebasing: all[start...])
                return .success(try raw.receive(into: free, stop: stop))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    /// Up to a line feed, without it and a carriage return before it.
    func line() throws(RedisError) -> String {
        var line: [UInt8] = []
        while true {
            if position == end { try fill() }
            let piece = buffer[position..<end]
            if let feed = piece.firstIndex(of: 0x0A) {
                line += buffer[position..<feed]
                position = feed + 1
                if line.last == 0x0D { line.removeLast() }
                return String(decoding: line, as: UTF8.self)
            }
            line += piece
            position = end
            guard line.count <= Self.lineLimit else { throw violation("a line is too long") }
        }
    }

    /// Bytes as they come: those already here, else the next ones; 0 when the server ended the stream.
    func read(into target: UnsafeMutableRawBufferPointer) throws(RedisError) -> Int {
        if position < end {
            let count = min(target.count, end - position)
            target.copyBytes(from: buffer[position..<position + count])
            position += count
            return count
        }
        do {
            return try raw.receive(into: target, stop: stop)
        } catch {
            throw .connection(error)
        }
    }

    private func reply(depth: Int) throws(RedisError) -> RedisReply {
        guard depth < Self.depthLimit else { throw violation("an answer is nested too deeply") }
        let line = try self.line()
        let rest = String(line.dropFirst())
        switch line.first {
        case "+": return .status(rest)
        case "-":
            let code = rest.prefix { $0 != " " }
            return .error(code: String(code), message: String(rest.dropFirst(code.count + 1)))
        case ":": return .integer(try number(rest))
        case "$":
            let length = try number(rest)
            if length == -1 { return .null }
            guard (0...Int64(Self.replyLimit)).contains(length) else { throw violation("an answer of \(length) bytes") }
            let bytes = try exactly(Int(length))
            guard try exactly(2) == [0x0D, 0x0A] else { throw violation("an answer without its end") }
            return .bytes(bytes)
        case "*":
            let count = try number(rest)
            if count == -1 { return .null }
            guard (0...1_000_000).contains(count) else { throw violation("an answer of \(count) items") }
            var items: [RedisReply] = []
            for _ in 0..<count { items.append(try reply(depth: depth + 1)) }
            return .list(items)
        default: throw violation("it answered '\(Self.shown(line))'")
        }
    }

    private func number(_ text: String) throws(RedisError) -> Int64 {
        guard let number = Int64(text) else { throw violation("'\(Self.shown(text))' is no number") }
        return number
    }

    private func exactly(_ count: Int) throws(RedisError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(min(count, 1 << 20))
        while bytes.count < count {
            if position == end { try fill() }
            let step = min(count - bytes.count, end - position)
            bytes += buffer[position..<position + step]
            position += step
        }
        return bytes
    }

    func violation(_ what: String) -> RedisError { .protocolViolation(address: address, what: what) }

    /// At most 60 characters, without control characters.
    static func shown(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.prefix(60).map { $0.value < 32 || $0.value == 127 ? "?" : $0 }))
    }
}
