// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO

/// Where the HTTP server in a container is reached, asked for once and again after it was not there. Thread-safe.
package final class ContainerAddress: Sendable {
    let container: ServerContainer
    private let port: UInt16
    let runner: any ProcessRunner
    private let known = Monitor<String?>(nil)

    /// `url` names the server by its service and the port it listens on in there: `http://chroma:8000`.
    init(_ container: ServerContainer, url: String, runner: any ProcessRunner) {
        self.container = container
        port = url.split(separator: ":").last.flatMap { UInt16($0) } ?? 80
        self.runner = runner
    }

    /// `http://172.18.0.3:8000`
    func base() throws -> String {
        if let known = known.withLock({ (known: inout String?) in known }) { return known }
        let (host, port) = try container.address(serverPort: port, runner)
        let base = "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"
        known.withLock { (known: inout String?) in known = base }
        return base
    }

    func forget() { known.withLock { (known: inout String?) in known = nil } }
}
