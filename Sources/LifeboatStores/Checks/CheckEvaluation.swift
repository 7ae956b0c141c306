// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
package import LifeboatCore
package import LifeboatHTTP
import LifeboatIO

/// Asks for the values of checks, each once, and gives the verdicts.
///
/// Values may be asked for in several rounds, since not all stores have an answer at the same time. Thread-safe.
package final class CheckEvaluation: Sendable {
    package let checks: [StackCheck]
    private let client: HTTPClient
    private let answers = Monitor<[CheckValue: Result<Double, LifeboatError>]>([:])

    /// Seconds a server may take to answer over HTTP.
    private static let httpDeadline = 30.0

    package init(_ checks: [StackCheck], client: HTTPClient = HTTPClient()) {
        self.checks = checks
        self.client = client
    }

    /// Names of the components that are asked.
    package var components: Set<String> { Set(checks.flatMap(\.values).compactMap(\.component)) }

    /// Asks `source` for all values of a component. Blocking; a failure is an answer.
    package func ask(_ component: String, _ source: (any NumberSource)?, _ cancellation: Cancellation) {
        for value in values where value.component == component {
            guard case .component(_, let question) = value else { continue }
            keep(value, cancellation) {
                guard let source else { throw LifeboatError("component '\(component)' gives no numbers") }
                return try source.number(question, cancellation)
            }
        }
    }

    /// Asks what no component answers: HTTP servers. Blocking.
    package func askOthers(_ cancellation: Cancellation) {
        for value in values {
            guard case .http(let url, let field) = value else { continue }
            keep(value, cancellation) { try self.number(in: field, of: url, cancellation) }
        }
    }

    /// Asks all of these components at once, one thread for each; returns when all have answered.
    package func askComponents(_ sources: [String: (any NumberSource)?], _ cancellation: Cancellation) throws {
        let asked = sources.filter { components.contains($0.key) }
        try runConcurrently(
            asked.map { name, source in
                (name: "check-\(name)", body: { @Sendable () throws -> Void in self.ask(name, source, cancellation) })
            })
    }

    /// Asks everything at once: all values of `sources`, and HTTP servers.
    package func askAll(_ sources: [String: (any NumberSource)?], _ cancellation: Cancellation) throws {
        let others = BlockingThread<Void>(name: "check-http") { self.askOthers(cancellation) }
        try askComponents(sources, cancellation)
        try others.join()
    }

    /// The verdicts on what was asked so far; a value nobody asked for is missing, and its check does not hold.
    package var results: [CheckResult] {
        let answers = answers.withLock { $0 }
        return checks.map { check in
            check.result { value in
                if case .number(let number) = value { return .success(number) }
                return answers[value] ?? .failure(LifeboatError("it was not asked in time"))
            }
        }
    }

    private var values: Set<CheckValue> { Set(checks.flatMap(\.values)) }

    private func keep(_ value: CheckValue, _ cancellation: Cancellation, _ body: () throws -> Double) {
        guard !cancellation.isCancelled else { return }
        let answer: Result<Double, LifeboatError>
        do {
            answer = .success(try body())
        } catch {
            answer = .failure(LifeboatError.converting(error))
        }
        // An answer that came too late is none: what it is about moves again.
        guard !cancellation.isCancelled else { return }
        answers.withLock { $0[value] = answer }
    }

    private func number(in field: String, of url: String, _ cancellation: Cancellation) throws -> Double {
        let request = HTTPRequest(
            .get, url, timeouts: HTTPTimeouts(connect: Self.httpDeadline, total: Self.httpDeadline),
            bodyLimit: 1 << 20)
        let response = try client.send(request, cancellation: cancellation)
        guard response.status == 200 else { throw LifeboatError("status \(response.status), not 200") }
        let body: JSONValue
        do {
            body = try JSONDecoder().decode(JSONValue.self, from: Data(response.body))
        } catch {
            throw LifeboatError("the answer is not JSON")
        }
        switch body.value(at: field) {
        case .integer(let value): return Double(value)
        case .number(let value): return value
        case .string(let text):
            guard let number = Double(text), number.isFinite else {
                throw LifeboatError("field '\(field)' is no number")
            }
            return number
        case nil: throw LifeboatError("the answer has no field '\(field)'")
        default: throw LifeboatError("field '\(field)' is no number")
        }
    }
}
