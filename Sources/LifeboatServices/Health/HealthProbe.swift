// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
package import LifeboatCore
package import LifeboatHTTP
package import LifeboatIO

/// One try of one question. Blocking, at most about `timeout` seconds.
package protocol HealthProbe: Sendable {
    /// What is asked, for people: `http://127.0.0.1:8080/health`.
    var subject: String { get }
    /// Returns when the answer is good, throws what is wrong with it otherwise.
    func ask(timeout: Double, cancellation: Cancellation?) throws
}

/// GET answers with a status and, if asked, a field of its JSON body has a value.
package struct HTTPHealthProbe: HealthProbe {
    private let client: HTTPClient
    private let url: String
    private let status: Int
    private let field: String?
    private let equals: String?
    private let unixSocket: String?

    package init(
        client: HTTPClient, url: String, status: Int = 200, field: String? = nil, equals: String? = nil,
        unixSocket: String? = nil
    ) {
        self.client = client
        self.url = url
        self.status = status
        self.field = field
        self.equals = equals
        self.unixSocket = unixSocket
    }

    package var subject: String { RedactedURL.text(url) }

    package func ask(timeout: Double, cancellation: Cancellation?) throws {
        let request = HTTPRequest(
            .get, url, unixSocket: unixSocket, timeouts: HTTPTimeouts(connect: timeout, total: timeout),
            bodyLimit: 1 << 20)
        let response = try client.send(request, cancellation: cancellation)
        guard response.status == status else {
            throw LifeboatError("status \(response.status), not \(status)")
        }
        guard let field else { return }
        let body: JSONValue
        do {
            body = try JSONDecoder().decode(JSONValue.self, from: Data(response.body))
        } catch {
            throw LifeboatError("the answer is not JSON, so it has no field '\(field)'")
        }
        guard let value = body.value(at: field) else { throw LifeboatError("the answer has no field '\(field)'") }
        guard let equals else { return }
        guard value.matches(equals) else {
            let found = value.text.map { "'\($0.prefix(60))'" } ?? "a list or an object"
            throw LifeboatError("field '\(field)' is \(found), not '\(equals)'")
        }
    }
}

/// A program ends with exit 0.
package struct CommandHealthProbe: HealthProbe {
    private let command: ServiceCommand
    private let runner: any ProcessRunner

    package init(words: [String], folder: String?, runner: any ProcessRunner) {
        command = ServiceCommand(words, folder: folder)
        self.runner = runner
    }

    package var subject: String { ServiceCommandRun.shown(command.words) }

    package func ask(timeout: Double, cancellation: Cancellation?) throws {
        try ServiceCommandRun.run(command, runner, deadline: timeout, cancellation)
    }
}

/// A question somebody else knows how to ask: SQL on a database.
package struct ClosureHealthProbe: HealthProbe {
    package let subject: String
    private let question: @Sendable (_ timeout: Double, _ cancellation: Cancellation?) throws -> Void

    /// `question` returns when the answer is good and throws otherwise; called on the thread that waits.
    package init(
        subject: String,
        _ question: @escaping @Sendable (_ timeout: Double, _ cancellation: Cancellation?) throws -> Void
    ) {
        self.subject = subject
        self.question = question
    }

    package func ask(timeout: Double, cancellation: Cancellation?) throws { try question(timeout, cancellation) }
}
