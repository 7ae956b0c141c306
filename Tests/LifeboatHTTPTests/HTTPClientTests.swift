// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatHTTP
import LifeboatIO
import Testing

@Suite struct HTTPClientTests {
    /// Answers each request of a connection with its own head and body, as text.
    static func echo() throws -> ScriptedServer {
        try ScriptedServer { connection in
            while let request = connection.readRequest() {
                let noBody = request.head.hasPrefix("HEAD ")
                let text = Array((request.head + "\r\n\r\n").utf8) + request.body
                connection.write("HTTP/1.1 200 OK\r\nX-Echo:  yes \r\nContent-Length: \(text.count)\r\n\r\n")
                if !noBody { connection.write(text) }
            }
        }
    }

    /// Answers the first request of each connection with this text, and hangs up.
    static func fixed(_ answer: String) throws -> ScriptedServer {
        try ScriptedServer { connection in
            guard connection.readRequest() != nil else { return }
            connection.write(answer)
        }
    }

    static func failure(_ body: () throws(HTTPError) -> HTTPResponse) -> HTTPError? {
        do throws(HTTPError) {
            let response = try body()
            Issue.record("answered with \(response.status)")
            return nil
        } catch {
            return error
        }
    }

    @Test func `every method reaches the server with headers and body`() throws {
        let server = try Self.echo()
        let client = HTTPClient()
        let body = Array("hello".utf8)
        for (method, sent) in [
            (HTTPMethod.get, HTTPBody.none), (.put, .bytes(body)), (.post, .bytes(body)), (.delete, .none),
            (.post, .none), (.put, .none),
        ] {
            let response = try client.send(
                HTTPRequest(
                    method, server.url + "/a?b=c", headers: [HTTPHeader("X-One", "1"), HTTPHeader("X-Empty", "")],
                    body: sent))
            #expect(response.status == 200)
            #expect(response.header("x-echo") == "yes")
            let text = String(decoding: response.body, as: UTF8.self)
            #expect(text.hasPrefix("\(method.rawValue) /a?b=c HTTP/1.1\r\n"))
            #expect(text.contains("X-One: 1\r\n"))
            #expect(text.contains("X-Empty:\r\n"))
            #expect(!text.contains("Expect:"))
            if case .bytes = sent { #expect(text.hasSuffix("\r\n\r\nhello")) }
        }
        let head = try client.send(HTTPRequest(.head, server.url + "/"))
        #expect(head.status == 200)
        #expect(head.body.isEmpty)
        #expect(head.header("Content-Length") != nil)
    }

    @Test func `bodies stream both ways`() throws {
        let server = try Self.echo()
        let client = HTTPClient()
        let size = 20 << 20
        var sent = 0
        let request = HTTPRequest(
            .put, server.url + "/big",
            body: .stream(length: UInt64(size)) { buffer in
                for index in buffer.indices { buffer[index] = UInt8(truncatingIfNeeded: (sent + index) &* 31) }
                sent += buffer.count
                return buffer.count
            })
        var received: [UInt8] = []
        let response = try client.send(request, receiving: { received.append(contentsOf: $0) })
        #expect(response.body.isEmpty)
        let start = try #require(received.firstRange(of: [13, 10, 13, 10])).upperBound
        let body = received[start...]
        #expect(body.count == size)
        #expect(body.enumerated().allSatisfy { $0.element == UInt8(truncatingIfNeeded: $0.offset &* 31) })
    }

    @Test(arguments: [204, 301, 404, 409, 500, 503]) func `any status is an answer, and its body is kept`(
        _ status: Int
    ) throws {
        let body = status == 204 ? "" : "{\"error\":\"no\"}"
        let server = try Self.fixed(
            "HTTP/1.1 \(status) X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        )
        let request = HTTPRequest(.get, server.url + "/x?token=hunter2")
        for response in [
            try HTTPClient().send(request),
            try HTTPClient().send(request, receiving: { _ in Issue.record("streamed") }),
        ] {
            #expect(response.status == status)
            #expect(response.body == Array(body.utf8))
            guard status != 204 else { continue }
            let error = try #require(Self.failure { () throws(HTTPError) in try response.expecting(of: request) })
            #expect(error.status == status)
            #expect(error.isTransient == (status >= 500))
            #expect(
                error.lifeboatError.description == """
                    error: GET '\(server.url)/x?token=…' failed
                    cause: the server answered with status \(status)
                    cause: it said: \(body)
                    """)
        }
    }

    @Test func `redirects are followed only when asked`() throws {
        let target = try Self.echo()
        let server = try Self.fixed("HTTP/1.1 302 X\r\nLocation: \(target.url)/t\r\nContent-Length: 0\r\n\r\n")
        #expect(try HTTPClient().send(HTTPRequest(.get, server.url)).status == 302)
        let followed = try HTTPClient().send(HTTPRequest(.get, server.url, redirects: 2))
        #expect(followed.status == 200)
        #expect(followed.header("Location") == nil)
    }

    @Test func `a connection that is refused is told as such`() throws {
        let server = try Self.echo()
        let url = server.url
        server.stop()
        let error = try #require(Self.failure { () throws(HTTPError) in try HTTPClient().send(HTTPRequest(.get, url)) })
        #expect(error.curlCode == 7)
        #expect(error.isTransient)
        #expect(error.status == nil)
        #expect(error.lifeboatError.hint == "Is the service running, and does it listen on this address?")
    }

    @Test func `a body that is cut is an error with its status`() throws {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        ] {
            let server = try Self.fixed(answer)
            var received = 0
            let error = try #require(
                Self.failure { () throws(HTTPError) in
                    try HTTPClient().send(HTTPRequest(.get, server.url), receiving: { received += $0.count })
                })
            #expect(error.curlCode == 18)
            #expect(error.status == 200)
            #expect(error.isTransient)
            #expect(error.lifeboatError.causes.contains("the server had answered with status 200"))
            #expect(received == 5)
        }
        let silent = try ScriptedServer { connection in _ = connection.readRequest() }
        let error = try #require(
            Self.failure { () throws(HTTPError) in try HTTPClient().send(HTTPRequest(.get, silent.url)) })
        #expect(error.curlCode == 52)
    }

    @Test func `a server that stalls or is too slow is given up`() throws {
        let server = try ScriptedServer { connection in
            guard let request = connection.readRequest() else { return }
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
            if request.head.contains("/slow") {
                while connection.write("x") { SystemClock().sleep(seconds: 0.05) }
            } else {
                _ = connection.readRequest()
            }
        }
        let clock = SystemClock()
        for (path, timeouts) in [
            ("/slow", HTTPTimeouts(total: 0.4)), ("/stall", HTTPTimeouts(total: 20, stall: 1)),
        ] {
            let start = clock.monotonicSeconds()
            let error = try #require(
                Self.failure { () throws(HTTPError) in
                    try HTTPClient().send(HTTPRequest(.get, server.url + path, timeouts: timeouts))
                })
            #expect(error.curlCode == 28)
            #expect(clock.monotonicSeconds() - start < 10)
        }
    }

    @Test func `a long body or endless headers are refused`() throws {
        let server = try Self.echo()
        let error = try #require(
            Self.failure { () throws(HTTPError) in
                try HTTPClient().send(
                    HTTPRequest(.put, server.url, body: .bytes([UInt8](repeating: 0, count: 5000)), bodyLimit: 4096))
            })
        #expect(error.lifeboatError.causes == ["the answer (status 200) is longer than 4.0 KiB"])
        let endless = try ScriptedServer { connection in
            guard connection.readRequest() != nil else { return }
            connection.write("HTTP/1.1 200 OK\r\n")
            while connection.write("X-A: \(String(repeating: "a", count: 1000))\r\n") {}
        }
        let other = try #require(
            Self.failure { () throws(HTTPError) in try HTTPClient().send(HTTPRequest(.get, endless.url)) })
        #expect(other.lifeboatError.message.hasPrefix("GET 'http://127.0.0.1"))
    }

    @Test func `errors of the caller come back unchanged`() throws {
        struct Mine: Error {}
        let server = try Self.echo()
        let client = HTTPClient()
        func check(_ error: HTTPError?) {
            guard case .body(let inner)? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(inner is Mine)
        }
        check(
            Self.failure { () throws(HTTPError) in
                try client.send(HTTPRequest(.get, server.url), receiving: { _ in throw Mine() })
            })
        check(
            Self.failure { () throws(HTTPError) in
                try client.send(HTTPRequest(.put, server.url, body: .stream(length: 10) { _ in throw Mine() }))
            })
        let short = Self.failure { () throws(HTTPError) in
            try client.send(HTTPRequest(.put, server.url, body: .stream(length: 10) { _ in 0 }))
        }
        #expect(short?.lifeboatError.causes == ["its body ended after 0 of 10 bytes"])
        #expect(try client.send(HTTPRequest(.get, server.url)).status == 200)
    }

    @Test func `a unix socket is spoken to`() throws {
        let folder = try TemporaryFolder(prefix: "lifeboat-http-")
        defer { try? folder.remove() }
        let path = folder.path + "/s.sock"
        let server = try ScriptedServer(unixSocket: path) { connection in
            guard let request = connection.readRequest() else { return }
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: \(request.head.utf8.count)\r\n\r\n\(request.head)")
        }
        let response = try HTTPClient().send(HTTPRequest(.get, "http://localhost/v1", unixSocket: path))
        #expect(String(decoding: response.body, as: UTF8.self).hasPrefix("GET /v1 HTTP/1.1"))
        server.stop()
        let missing = Self.failure { () throws(HTTPError) in
            try HTTPClient().send(HTTPRequest(.get, "http://localhost/", unixSocket: folder.path + "/none"))
        }
        #expect(missing?.curlCode == 7)
    }

    @Test func `a cancellation ends a request that hangs`() throws {
        let server = try ScriptedServer { connection in
            _ = connection.readRequest()
            _ = connection.readRequest()
        }
        let cancellation = Cancellation()
        let canceller = BlockingThread<Void>(name: "cancel") {
            SystemClock().sleep(seconds: 0.2)
            cancellation.cancel()
        }
        let error = Self.failure { () throws(HTTPError) in
            try HTTPClient().send(HTTPRequest(.get, server.url), cancellation: cancellation)
        }
        try canceller.join()
        #expect(error?.lifeboatError == .interrupted)
    }

    @Test func `connections are kept, and one client serves many threads`() throws {
        let connections = Monitor(0)
        let server = try ScriptedServer { connection in
            connections.update { $0 += 1 }
            while let request = connection.readRequest() {
                connection.write("HTTP/1.1 200 OK\r\nContent-Length: \(request.body.count)\r\n\r\n")
                connection.write(request.body)
            }
        }
        let url = server.url
        let client = HTTPClient()
        try runConcurrently(
            (0..<8).map { thread in
                (
                    name: "client",
                    body: {
                        for round in 0..<25 {
                            let body = [UInt8](repeating: UInt8(thread * 25 + round), count: 1000 * thread + round)
                            let answer = try client.send(HTTPRequest(.post, url, body: .bytes(body)))
                            #expect(answer.body == body)
                        }
                    }
                )
            })
        #expect(connections.withLock { $0 } <= 8)
    }

    @Test(arguments: [
        ("http://h/p?a=b&c", "http://h/p?a=…&…"), ("https://me:pw@h:1/p#frag", "https://<secret>@h:1/p"),
        ("http://me:p/w@h/x?q=1#f", "http://<secret>@h/x?q=…"), ("http://me:p?w@h/x", "http://<secret>@h/x"),
        ("http://h", "http://h"), ("h\n", "h?"), ("me:pw@h", "<secret>@h"),
    ]) func `URLs are shown without secrets`(_ url: String, _ shown: String) {
        #expect(RedactedURL.text(url) == shown)
    }

    @Test func `secrets in URLs and headers are in no error`() throws {
        let server = try Self.echo()
        let url = server.url.replacing("http://", with: "http://user:hunter2@") + "/?token=hunter2"
        server.stop()
        let header = HTTPHeader("Authorization", "Bearer hunter2")
        for request in [
            HTTPRequest(.get, url, headers: [header]),
            HTTPRequest(.get, "http://user:hun/ter2@h:x/", headers: [header]),
            HTTPRequest(.get, "ftp://user:hunter2@h/", headers: [header]),
            HTTPRequest(.get, "http://h/", headers: [HTTPHeader("A", "hunter2\r\nB: c")]),
            HTTPRequest(.get, "http://h/", headers: [HTTPHeader("hunter2 x", "")]),
            HTTPRequest(.delete, "http://user:hunter2@h/", body: .bytes([])),
        ] {
            let error = try #require(Self.failure { () throws(HTTPError) in try HTTPClient().send(request) })
            let printed = "\(error.lifeboatError) \(error)"
            #expect(!printed.contains("ter2"), "\(printed)")
        }
    }
}
