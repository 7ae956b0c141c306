// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
package import LifeboatCore
import LifeboatHTTP
package import LifeboatIO

/// Where a service with a JSON interface over HTTP is, and what lets us in.
package struct RESTEndpoint: Sendable {
    /// `Qdrant`: for messages.
    package var service: String
    /// `http://127.0.0.1:6333`, without a slash at its end and without user or password: it stands in messages.
    package var url: String
    /// Headers that hold the key, with what precedes it in the value (`Bearer `).
    package var keyHeaders: [(name: String, prefix: String)]
    package var key: Secret?
    /// A file of certificates to trust instead of the system's.
    package var certificates: String?
    /// Where a server in a container is found; then `url` only names it.
    package var container: ContainerAddress?

    package init(
        service: String, url: String, keyHeaders: [(name: String, prefix: String)], key: Secret?,
        certificates: String? = nil, container: (ServerContainer, any ProcessRunner)? = nil
    ) {
        self.service = service
        var url = url
        while url.hasSuffix("/") { url.removeLast() }
        self.url = url
        self.keyHeaders = keyHeaders
        self.key = key
        self.certificates = certificates
        self.container = container.map { ContainerAddress($0.0, url: url, runner: $0.1) }
    }

    /// `Qdrant at 'http://127.0.0.1:6333'`.
    var subject: String {
        if let container { return "\(service) in \(container.container)" }
        return "\(service) at '\(url)'"
    }

    /// Where requests go to now. Blocking: may ask the container's engine.
    func base() throws -> String { try container?.base() ?? url }
}

/// Speaks JSON with one service. Thread-safe; every call blocks.
struct RESTClient: Sendable {
    let endpoint: RESTEndpoint
    private let client = HTTPClient()

    /// Seconds without a byte, for calls that answer only after long work on the server (making or loading a snapshot).
    static let longStall = 3600.0

    init(_ endpoint: RESTEndpoint) { self.endpoint = endpoint }

    /// The request for a path below the endpoint, its parts percent-encoded already. Throws where the server's container
    /// is not found.
    func request(
        _ method: HTTPMethod, _ path: String, body: HTTPBody = .none, type: String? = nil, stall: Double = 60,
        bodyLimit: Int = 8 << 20
    ) throws -> HTTPRequest {
        var headers: [HTTPHeader] = []
        if let type { headers.append(HTTPHeader("Content-Type", type)) }
        endpoint.key?.reveal { key in
            for header in endpoint.keyHeaders { headers.append(HTTPHeader(header.name, header.prefix + key)) }
        }
        return HTTPRequest(
            method, try endpoint.base() + path, headers: headers, body: body, timeouts: HTTPTimeouts(stall: stall),
            certificates: endpoint.certificates, bodyLimit: bodyLimit)
    }

    /// Sends it; any answer but 2xx and those of `accepting` throws `RESTError`. What the caller's own code throws, and a
    /// cancellation, are thrown on as they are.
    func send(
        _ request: HTTPRequest, _ purpose: String, accepting: Set<Int> = [], cancellation: Cancellation? = nil
    ) throws -> HTTPResponse {
        let response: HTTPResponse
        do throws(HTTPError) {
            response = try client.send(request, cancellation: cancellation)
        } catch {
            throw failure(error, purpose)
        }
        return try checked(response, purpose, accepting: accepting)
    }

    /// The same with the body of the answer given to `sink` as it comes.
    func download(
        _ request: HTTPRequest, _ purpose: String, cancellation: Cancellation? = nil,
        into sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let response: HTTPResponse
        do throws(HTTPError) {
            response = try client.send(request, cancellation: cancellation, receiving: sink)
        } catch {
            throw failure(error, purpose)
        }
        _ = try checked(response, purpose, accepting: [])
    }

    /// A call with a JSON body, or none; the answer's bytes.
    func call(
        _ method: HTTPMethod, _ path: String, _ purpose: String, json body: [UInt8]? = nil, accepting: Set<Int> = [],
        stall: Double = 60, bodyLimit: Int = 8 << 20, cancellation: Cancellation? = nil
    ) throws -> HTTPResponse {
        let request = try request(
            method, path, body: body.map { .bytes($0) } ?? .none, type: body == nil ? nil : "application/json",
            stall: stall, bodyLimit: bodyLimit)
        return try send(request, purpose, accepting: accepting, cancellation: cancellation)
    }

    /// Decodes an answer.
    func decode<Answer: Decodable>(
        _ type: Answer.Type, _ bytes: [UInt8], _ purpose: String
    ) throws(RESTError) -> Answer {
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch {
            throw .malformed(endpoint.subject, purpose, "\(error)")
        }
    }

    private func failure(_ error: HTTPError, _ purpose: String) -> any Error {
        switch error {
        case .cancelled: LifeboatError.interrupted
        case .body(let error): error
        default: unreached(error, purpose)
        }
    }

    /// A container that was started again may be elsewhere.
    private func unreached(_ error: HTTPError, _ purpose: String) -> any Error {
        endpoint.container?.forget()
        return RESTError.transport(endpoint.subject, purpose, error)
    }

    private func checked(
        _ response: HTTPResponse, _ purpose: String, accepting: Set<Int>
    ) throws(RESTError) -> HTTPResponse {
        if response.isSuccess || accepting.contains(response.status) { return response }
        let said = Self.said(response.body)
        if response.status == 401 || response.status == 403 {
            throw .refused(endpoint.subject, purpose, status: response.status, said: said, hasKey: endpoint.key != nil)
        }
        throw .status(endpoint.subject, purpose, status: response.status, said: said)
    }

    /// What an error's body says: Qdrant's `status.error`, Chroma's `message`, else the start of its text.
    private static func said(_ body: [UInt8]) -> String {
        let value = try? JSONDecoder().decode(JSONValue.self, from: Data(body))
        let text =
            value?.value(at: "status.error")?.text ?? value?.value(at: "message")?.text
            ?? String(decoding: body.prefix(1000), as: UTF8.self)
        let line = text.split { $0.isWhitespace || $0.isNewline }.joined(separator: " ")
        return String(line.prefix(300))
    }

    /// A part of a path: all but letters, digits and `-._~` escaped (RFC 3986).
    static func escaped(_ part: String) -> String {
        var text = ""
        for byte in part.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E:
                text.append(Character(Unicode.Scalar(byte)))
            default: text += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        // These two would be taken for steps of the path.
        return text == "." ? "%2E" : text == ".." ? "%2E%2E" : text
    }
}

/// Why a call of a service came to nothing. `purpose` is a verb phrase: `list the collections`.
enum RESTError: Error, LifeboatErrorConvertible {
    case transport(_ subject: String, _ purpose: String, HTTPError)
    case refused(_ subject: String, _ purpose: String, status: Int, said: String, hasKey: Bool)
    case status(_ subject: String, _ purpose: String, status: Int, said: String)
    /// The answer is not what the interface promises.
    case malformed(_ subject: String, _ purpose: String, _ reason: String)

    /// The status of an answer that came.
    var status: Int? {
        switch self {
        case .refused(_, _, let status, _, _), .status(_, _, let status, _): status
        case .transport(_, _, let error): error.status
        case .malformed: nil
        }
    }

    /// Whether the answer was too long for the limit of the request.
    var isTooLong: Bool {
        if case .transport(_, _, .tooLong) = self { return true }
        return false
    }

    var lifeboatError: LifeboatError {
        switch self {
        case .transport(let subject, let purpose, let error):
            return error.lifeboatError.wrapped("cannot \(purpose) of \(subject)")
        case .refused(let subject, let purpose, let status, let said, let hasKey):
            return LifeboatError(
                "\(subject) does not let us \(purpose)", causes: Self.causes(status, said),
                hint: hasKey
                    ? "Check the key in the policy: is it right, and may it do this?"
                    : "The service wants a key: name it in the policy.")
        case .status(let subject, let purpose, let status, let said):
            return LifeboatError("cannot \(purpose) of \(subject)", causes: Self.causes(status, said))
        case .malformed(let subject, let purpose, let reason):
            return LifeboatError(
                "cannot \(purpose) of \(subject)", causes: ["the answer is not what was expected: \(reason)"],
                hint: "Does the URL name that service, in a version lifeboat knows?")
        }
    }

    private static func causes(_ status: Int, _ said: String) -> [String] {
        ["the server answered with status \(status)"] + (said.isEmpty ? [] : ["it said: \(said)"])
    }
}
