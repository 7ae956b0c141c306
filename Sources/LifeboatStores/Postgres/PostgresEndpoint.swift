// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// Where a server is and who we are there.
package struct PostgresEndpoint: Sendable {
    /// A name, an address, or the folder of a unix socket (starts with a slash).
    package var host: String
    package var port: UInt16
    package var user: String
    /// Nil: what the server and libpq's own password file agree on.
    package var password: Secret?
    /// libpq's `sslmode`; nil: libpq's default (`prefer`).
    package var sslMode: String?
    /// Seconds until an attempt to connect is given up.
    package var connectTimeout: Double = 10

    package init(
        host: String, port: UInt16 = 5432, user: String, password: Secret? = nil, sslMode: String? = nil,
        connectTimeout: Double = 10
    ) {
        self.host = host
        self.port = port
        self.user = user
        self.password = password
        self.sslMode = sslMode
        self.connectTimeout = connectTimeout
    }

    /// `127.0.0.1:5432`, for people.
    package var address: String { "\(host):\(port)" }

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
    package func connectionString(_ database: String) -> String {
        keywords(database).filter { $0.name != "client_encoding" }
            .map { keyword in
                let value = keyword.value.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
                return "\(keyword.name)='\(value)'"
            }
            .joined(separator: " ")
    }
}
