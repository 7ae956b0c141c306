// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatHTTP
import LifeboatIO
import LifeboatPolicy
import LifeboatServices
import LifeboatStores

/// One question asked of what a drill brought up.
struct DrillProbe {
    var name: String
    var kind: String
    var component: String?
    /// What was answered, for people; throws when that is not good.
    var question: (_ cancellation: Cancellation) throws -> String

    func ask(_ clock: any Clock, _ cancellation: Cancellation) -> DrillResult.Probe {
        let begin = clock.monotonicSeconds()
        func result(_ passed: Bool, _ detail: String) -> DrillResult.Probe {
            DrillResult.Probe(
                name: name, kind: kind, passed: passed, detail: detail, seconds: clock.monotonicSeconds() - begin)
        }
        do {
            return result(true, try question(cancellation))
        } catch {
            let told = LifeboatError.converting(error)
            return result(false, ([told.message] + told.causes).joined(separator: ": "))
        }
    }
}

/// The questions of the policy, and those every store of vectors is asked.
struct DrillProbes {
    let policy: Policy
    let seats: [DrillSeat]
    let compose: ComposeSandbox?
    /// Besides the servers also what uses them was started in the project.
    let servicesRun: Bool
    let drill: String
    let folder: String
    let request: DrillRequest

    var questions: (probes: [DrillProbe], leftOut: [String]) {
        var probes: [DrillProbe] = []
        var leftOut: [String] = []
        for (number, policy) in policy.drill.probes.enumerated() {
            do throws(Left) {
                probes.append(try probe(policy, number))
            } catch {
                leftOut.append("probe '\(policy.name ?? "\(number + 1)")' was not asked: \(error.reason)")
            }
        }
        for health in policy.health {
            let name = health.name ?? Self.shown(health.question)
            if case .postgres(let component, let sql, let equals) = health.question {
                guard let seat = seat(component), let store = seat.store as? PostgresStore else { continue }
                guard seat.isWhole else {
                    leftOut.append("health probe '\(name)' was not asked: \(Self.partial(component))")
                    continue
                }
                probes.append(
                    DrillProbe(name: health.name ?? "health of '\(component)'", kind: "health", component: component) {
                        try Self.answer(try store.scalar(sql, cancellation: $0), equals)
                    })
            } else if compose != nil, !servicesRun {
                leftOut.append("health probe '\(name)' was not asked: its service was not started")
            } else if let probe = healthInProject(health) {
                probes.append(probe)
            } else if case .container = health.question, compose != nil {
                // Compose itself waits for the health of every container.
                continue
            } else {
                leftOut.append(
                    "health probe '\(name)' was not asked: it is about the live stack")
            }
        }
        return (probes + neighbourProbes, leftOut)
    }

    /// A probe over HTTP asked of the same service in the sandbox's project.
    private func healthInProject(_ health: HealthProbePolicy) -> DrillProbe? {
        guard case .http(let url, let status, let field, let equals) = health.question, let place = inProject(url)
        else { return nil }
        let check = HealthCheck(
            name: health.name,
            probe: HTTPHealthProbe(client: HTTPClient(), url: place, status: status, field: field, equals: equals),
            within: health.within, interval: health.interval, consecutive: health.consecutive)
        let waiter = HealthWaiter(clock: request.clock)
        let progress = request.progress
        return DrillProbe(name: health.name ?? RedactedURL.text(url), kind: "health") { cancellation in
            for result in try waiter.wait(for: [check], progress: progress, cancellation: cancellation) {
                if let error = result.error { throw error }
            }
            return "status \(status)"
        }
    }

    /// The URL of a port that the project publishes on this host, in the sandbox; nil: it is none.
    private func inProject(_ url: String) -> String? {
        guard let compose, let scheme = url.firstRange(of: "://") else { return nil }
        let rest = url[scheme.upperBound...]
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let parts = authority.split(separator: ":", maxSplits: 1)
        guard let host = parts.first, ["127.0.0.1", "localhost"].contains(host) else { return nil }
        let port = parts.count > 1 ? Int(parts[1]) : url.hasPrefix("https") ? 443 : 80
        guard let port, let address = (try? compose.address(published: port)) ?? nil else { return nil }
        return url[..<scheme.upperBound] + address + rest.dropFirst(authority.count)
    }

    private struct Left: Error { var reason: String }

    private static func shown(_ question: HealthProbePolicy.Question) -> String {
        switch question {
        case .http(let url, _, _, _): RedactedURL.text(url)
        case .tcp(let host, let port): "\(host):\(port)"
        case .container(let service): "container of '\(service)'"
        case .command(let words): words.first ?? "command"
        case .postgres(let component, _, _): "query of '\(component)'"
        }
    }

    private static func partial(_ component: String) -> String {
        "not all data of component '\(component)' is in the sample"
    }

    private func seat(_ name: String) -> DrillSeat? { seats.first { $0.name == name } }

    /// Every collection of every store of vectors, unless the policy asks for it itself.
    private var neighbourProbes: [DrillProbe] {
        seats.flatMap { seat -> [DrillProbe] in
            guard let store = seat.store as? any NeighbourSearch,
                let names = try? store.searchable(request.cancellation)
            else { return [] }
            let asked = policy.drill.probes.compactMap { probe -> String? in
                guard case .neighbours(seat.name, let collection) = probe.question else { return nil }
                return collection
            }
            return names.filter { name in !asked.contains { name == $0 || name.hasSuffix("/\($0)") } }.map { name in
                neighbours("neighbours in '\(name)' of '\(seat.name)'", seat.name, store, name)
            }
        }
    }

    private func neighbours(
        _ title: String, _ component: String, _ store: any NeighbourSearch, _ collection: String
    ) -> DrillProbe {
        DrillProbe(name: title, kind: "neighbours", component: component) { cancellation in
            let report = try store.neighbours(in: collection, cancellation)
            let recall =
                report.recall.map { ", \(Int(nearest: ($0 * 100).rounded(.down))) % of their true neighbours" } ?? ""
            guard report.isGood else {
                throw LifeboatError(
                    report.lost.isEmpty
                        ? "the index finds only \(Int(nearest: ((report.recall ?? 0) * 100).rounded(.down))) % of the true neighbours"
                        : "\(report.lost.count) of \(report.queries) stored vectors do not find themselves",
                    causes: report.lost.prefix(3).map { "record '\($0)'" })
            }
            return "\(report.queries) stored vectors found themselves\(recall)"
        }
    }

    private func probe(_ policy: DrillProbePolicy, _ number: Int) throws(Left) -> DrillProbe {
        let name = policy.name ?? "probe \(number + 1)"
        switch policy.question {
        case .sql(let component, let sql, let equals):
            let store = try whole(component).store
            return DrillProbe(name: name, kind: "sql", component: component) { cancellation in
                try Self.answer(try Self.scalar(store, sql, cancellation), equals)
            }
        case .redis(let component, let words, let equals):
            guard let engine = try whole(component).engine as? RedisEngine else {
                throw Left(reason: "component '\(component)' is no Redis")
            }
            return DrillProbe(name: name, kind: "redis", component: component) { cancellation in
                let reply = try RedisConnection(engine.endpoint, cancellation: cancellation).command(words)
                return try Self.answer(reply.text ?? "\(reply.items.count) items", equals)
            }
        case .neighbours(let component, let collection):
            let seat = try present(component)
            guard let store = seat.store as? any NeighbourSearch else {
                throw Left(reason: "component '\(component)' cannot be searched")
            }
            guard seat.sampled?.holds(collection: collection) != false else {
                throw Left(reason: "collection '\(collection)' is not in the sample")
            }
            return neighbours(name, component, store, collection)
        case .http(let url, let status, let field, let equals):
            if compose != nil, !servicesRun {
                throw Left(reason: "the service behind it was not started")
            }
            let place = try filled(url)
            let probe = HTTPHealthProbe(
                client: HTTPClient(), url: place, status: status, field: field, equals: equals)
            return DrillProbe(name: name, kind: "http") { cancellation in
                try probe.ask(timeout: policy.within, cancellation: cancellation)
                return "status \(status)" + (field.map { ", '\($0)' as expected" } ?? "")
            }
        case .command(let words, let equals):
            guard seats.count == self.policy.components.count else {
                throw Left(reason: "not all components are in the sandbox, and it may ask any of them")
            }
            guard seats.allSatisfy(\.isWhole) else {
                throw Left(reason: "not all data is in the sample, and it may ask for any of it")
            }
            return DrillProbe(name: name, kind: "command") { cancellation in
                try run(words, policy.within, equals, cancellation)
            }
        }
    }

    private func present(_ component: String) throws(Left) -> DrillSeat {
        guard let seat = seat(component) else { throw Left(reason: "component '\(component)' is not in the sandbox") }
        return seat
    }

    /// The component, with all its data.
    private func whole(_ component: String) throws(Left) -> DrillSeat {
        let seat = try present(component)
        guard seat.isWhole else { throw Left(reason: Self.partial(component)) }
        return seat
    }

    /// The URL with the addresses of the sandbox put in; one that names none is about what lives.
    private func filled(_ url: String) throws(Left) -> String {
        var filled = inProject(url) ?? url
        for seat in seats {
            guard let address = seat.place.hostAndPort, filled.contains("{\(seat.name)}") else { continue }
            guard seat.isWhole else { throw Left(reason: Self.partial(seat.name)) }
            filled = filled.replacing("{\(seat.name)}", with: address)
        }
        guard filled != url, !filled.contains("{") else {
            throw Left(
                reason: "its URL names no component of the sandbox: write {NAME} in the place of host and port")
        }
        return filled
    }

    private static func scalar(
        _ store: any DataStore, _ sql: String, _ cancellation: Cancellation
    ) throws -> String? {
        switch store {
        case let store as PostgresStore: return try store.scalar(sql, cancellation: cancellation)
        case let store as PostgresServerStore:
            guard case .named(let names) = store.selection, let first = names.first else {
                throw LifeboatError("it is not one database")
            }
            return try store.store(first).scalar(sql, cancellation: cancellation)
        case let store as SQLiteStore: return try store.scalar(sql, cancellation)
        default: throw LifeboatError("\(store.subject) takes no queries")
        }
    }

    private static func answer(_ answer: String?, _ equals: String?) throws -> String {
        guard let answer else { throw LifeboatError("the answer is nothing, or NULL") }
        guard let equals else { return "'\(answer.prefix(60))'" }
        guard answer == equals else { throw LifeboatError("the answer is '\(answer.prefix(60))', not '\(equals)'") }
        return "'\(answer.prefix(60))' as expected"
    }

    /// Runs a command in the policy's folder, with the addresses of the sandbox in its environment.
    private func run(
        _ words: [String], _ within: Double, _ equals: String?, _ cancellation: Cancellation
    ) throws -> String {
        guard let program = words.first else { throw LifeboatError("it names no program") }
        var environment = ["LIFEBOAT_DRILL": drill, "LIFEBOAT_DRILL_FOLDER": folder]
        for seat in seats { environment["LIFEBOAT_DRILL_\(Self.variable(seat.name))"] = seat.place.address }
        let result = try request.runner.run(
            ProcessCommand(
                program, Array(words.dropFirst()), environment: environment, inherits: .everything,
                workingDirectory: policy.folder),
            deadline: within, cancellation: cancellation)
        guard result.termination.succeeded else {
            throw LifeboatError("\(result.termination)", causes: ProcessResult.lastLines(of: result.standardError))
        }
        let text = String(decoding: result.standardOutput, as: UTF8.self)
        let line = text.split(separator: "\n").first.map(String.init) ?? ""
        return equals == nil && line.isEmpty ? "exit status 0" : try Self.answer(line, equals)
    }

    /// `work-docs` → `WORK_DOCS`
    private static func variable(_ name: String) -> String {
        String(name.uppercased().map { $0.isLetter || $0.isNumber ? $0 : "_" })
    }
}
