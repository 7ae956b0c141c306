// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
import LifeboatIO

/// Where a server is and who we are there.
package struct PostgresEndpoint: Sendable {
    /// A name, an address, or the folder of a unix socket (starts with a slash). Empty: the container's address, asked
    /// for anew with each session, since it may change when the container starts again.
    package var host: String
    package var port: UInt16
    package var user: String
    /// Nil: what the server and libpq's own password file agree on.
    package var password: Secret?
    /// libpq's `sslmode`; nil: libpq's default (`prefer`).
    package var sslMode: String?
    /// Seconds until an attempt to connect is given up.
    package var connectTimeout: Double = 10
    /// The container the server runs in, whose client programs are used; nil: those of this host.
    package var container: ServerContainer?

    package init(
        host: String, port: UInt16 = 5432, user: String, password: Secret? = nil, sslMode: String? = nil,
        connectTimeout: Double = 10, container: ServerContainer? = nil
    ) {
        self.host = host
        self.port = port
        self.user = user
        self.password = password
        self.sslMode = sslMode
        self.connectTimeout = connectTimeout
        self.container = container
    }

    /// `127.0.0.1:5432`, for people.
    package var address: String {
        if host.isEmpty, let container { return "\(container)" }
        return "\(host):\(port)"
    }

    /// The same with a host that a session can be opened to. Blocking: may ask the container engine.
    func reachable(_ runner: any ProcessRunner) throws -> PostgresEndpoint {
        guard host.isEmpty, let container else { return self }
        var endpoint = self
        (endpoint.host, endpoint.port) = try container.address(serverPort: port, runner)
        return endpoint
    }

    /// The libpq keywords for one database, without the password.
    func keywords(_ database: String) -> [(name: String, value: String)] {
        var keywords = [
            ("host", host), ("port", "\(port)"), ("user", user), ("dbname", database),
            ("application_name", "lifeboat"), ("client_encoding", "UTF8"),
        ]
        if let sslMode { keywords.append(("sslmode", sslMode)) }
        return keywords
    }

    /// The same as a connection string for the client programs: a bare database name with an equals sign in it would
    /// be taken for one. Safe to show; holds no password.
    ///
    /// Inside a container the programs find the server as they do when they are called there by hand: by its socket.
    package func connectionString(_ database: String) -> String {
        let outside: Set<String> = container == nil ? [] : ["host", "port", "sslmode"]
        return keywords(database).filter { $0.name != "client_encoding" && !outside.contains($0.name) }
            .map { keyword in
                let value = keyword.value.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
                return "\(keyword.name)='\(value)'"
            }
            .joined(separator: " ")
    }
}
