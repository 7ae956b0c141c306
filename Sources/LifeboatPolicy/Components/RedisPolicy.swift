// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// A Redis or Valkey server.
package struct RedisPolicy: Sendable, Equatable {
    package struct TLS: Sendable, Equatable {
        /// Certificates to trust instead of the system's.
        package var authority: String?
        package var certificate: String?
        package var key: String?

        package init(authority: String? = nil, certificate: String? = nil, key: String? = nil) {
            self.authority = authority
            self.certificate = certificate
            self.key = key
        }
    }

    /// How the data is fetched; nil: replication, BGSAVE when the server refuses it.
    package enum Transfer: String, Sendable, CaseIterable { case replication, bgsave }

    /// Nil with a container: the container's own address; nil without one: 127.0.0.1.
    package var host: String?
    package var port: Int?
    /// A unix socket, instead of host and port.
    package var socket: String?
    /// The Docker container it runs in.
    package var container: ContainerPolicy?
    package var user: String?
    package var password: SecretReference?
    /// Nil: no TLS.
    package var tls: TLS?
    /// The server's data folder as this host sees it; nil: asked for.
    package var data: String?
    package var transfer: Transfer?

    package init(
        host: String? = nil, port: Int? = nil, socket: String? = nil, container: ContainerPolicy? = nil,
        user: String? = nil, password: SecretReference? = nil, tls: TLS? = nil, data: String? = nil,
        transfer: Transfer? = nil
    ) {
        self.host = host
        self.port = port
        self.socket = socket
        self.container = container
        self.user = user
        self.password = password
        self.tls = tls
        self.data = data
        self.transfer = transfer
    }

    /// For people and comparisons: where the server is.
    package var address: String {
        if let socket { return socket }
        if host == nil, let container { return "\(container.address):\(port ?? 6379)" }
        return "\(host ?? "127.0.0.1"):\(port ?? 6379)"
    }
}

extension PolicyReader {
    mutating func redis(_ node: LocatedNode, _ path: String) -> RedisPolicy? {
        let known = [
            "host", "port", "socket", "container", "service", "project", "user", "password", "tls", "data", "transfer",
        ]
        guard let fields = fields(node, path, known: known) else { return nil }
        let transfer = choice("transfer", in: fields, among: RedisPolicy.Transfer.allCases.map(\.rawValue))
        let policy = RedisPolicy(
            host: host("host", in: fields), port: integer("port", in: fields, 1...65_535),
            socket: self.path("socket", in: fields), container: container(fields),
            user: text("user", in: fields), password: secret("password", in: fields), tls: tls("tls", in: fields),
            data: self.path("data", in: fields), transfer: transfer.flatMap { RedisPolicy.Transfer(rawValue: $0) })
        if fields["socket"] != nil {
            for key in ["host", "port", "tls"] where fields[key] != nil {
                report(
                    "'\(fields.path(key))' and '\(fields.path("socket"))' exclude each other",
                    at: fields.keyLocation(key),
                    hint: "A server is reached over its socket or over the network: keep one.")
            }
        }
        if fields["user"] != nil, fields["password"] == nil {
            report(
                "'\(fields.path("user"))' needs a password", at: fields.keyLocation("user"),
                hint: "Add 'password: {env: REDIS_PASSWORD}', or remove the user.")
        }
        return policy
    }

    /// `true`, `false`, or files.
    private mutating func tls(_ key: String, in fields: PolicyFields) -> RedisPolicy.TLS? {
        guard let node = fields[key] else { return nil }
        guard case .mapping = node.content else {
            return bool(key, in: fields, default: false) ? RedisPolicy.TLS() : nil
        }
        guard let files = self.fields(node, fields.path(key), known: ["ca", "certificate", "key"]) else { return nil }
        for (one, other) in [("certificate", "key"), ("key", "certificate")]
        where files[one] != nil && files[other] == nil {
            report("'\(files.path(one))' needs '\(files.path(other))' beside it", at: files.keyLocation(one))
        }
        return RedisPolicy.TLS(
            authority: path("ca", in: files), certificate: path("certificate", in: files), key: path("key", in: files))
    }
}
