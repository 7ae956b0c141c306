// SPDX-License-Identifier: Apache-2.0

/// The verbs lifeboat speaks.
package enum HTTPMethod: String, Sendable {
    case get = "GET"
    case head = "HEAD"
    case put = "PUT"
    case post = "POST"
    case delete = "DELETE"
}

package struct HTTPHeader: Sendable, Equatable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// What is sent with a request. Safe: the buffer of `read` is valid for that call alone, as its contract says.
@safe package enum HTTPBody {
    case none
    case bytes([UInt8])
    /// `length` bytes from `read`, which fills its buffer as far as it can and returns 0 only at the end. Called on the
    /// thread of `send`; what it throws ends the request and is thrown on.
    case stream(length: UInt64, read: (UnsafeMutableRawBufferPointer) throws -> Int)
}

/// How long a request may take; seconds.
package struct HTTPTimeouts: Sendable, Equatable {
    /// Until the connection stands, name look-up and TLS included.
    package var connect: Double
    /// For the whole request; nil: no limit, as fits a stream of unknown size.
    package var total: Double?
    /// Without a single byte in either direction; whole seconds, rounded up. Nil: no limit.
    package var stall: Double?

    package init(connect: Double = 10, total: Double? = nil, stall: Double? = 60) {
        self.connect = connect
        self.total = total
        self.stall = stall
    }
}

package enum HTTPProxy: Sendable, Equatable {
    /// Directly, whatever the environment says.
    case none
    /// As `http_proxy` and its kin say, but never for this machine itself.
    case environment
    case url(String)
}

/// One request. Nothing happens before `HTTPClient.send`.
package struct HTTPRequest {
    package var method: HTTPMethod
    /// `http://` or `https://`.
    package var url: String
    /// Values may be secrets: nothing prints them.
    package var headers: [HTTPHeader]
    package var body: HTTPBody
    /// Path of a unix socket to connect to instead of the host of the URL.
    package var unixSocket: String?
    package var timeouts: HTTPTimeouts
    package var proxy: HTTPProxy
    /// How many redirects are followed; none by default: what was asked is what answers.
    package var redirects: Int
    /// A file of certificates to trust instead of the system's.
    package var certificates: String?
    /// Largest body kept in memory; a longer one is an error.
    package var bodyLimit: Int

    package init(
        _ method: HTTPMethod = .get, _ url: String, headers: [HTTPHeader] = [], body: HTTPBody = .none,
        unixSocket: String? = nil, timeouts: HTTPTimeouts = HTTPTimeouts(), proxy: HTTPProxy = .none,
        redirects: Int = 0, certificates: String? = nil, bodyLimit: Int = 8 << 20
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.unixSocket = unixSocket
        self.timeouts = timeouts
        self.proxy = proxy
        self.redirects = redirects
        self.certificates = certificates
        self.bodyLimit = bodyLimit
    }
}

/// What came back, whatever its status.
package struct HTTPResponse: Sendable, Equatable {
    package var status: Int
    /// In the order of the server, names as it wrote them.
    package var headers: [HTTPHeader]
    /// Empty for what was streamed.
    package var body: [UInt8]

    package init(status: Int, headers: [HTTPHeader] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    package var isSuccess: Bool { (200..<300).contains(status) }

    /// The first value of that header, letter case aside.
    package func header(_ name: String) -> String? {
        let wanted = name.lowercased()
        return headers.first { $0.name.lowercased() == wanted }?.value
    }
}
