// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

package struct ChromaPolicy: Sendable, Equatable {
    package struct Server: Sendable, Equatable {
        /// `http://` or `https://`, without user, password, query and fragment. With a container it only names it.
        package var url: String
        /// Where the server runs, instead of a URL.
        package var container: ContainerPolicy?
        package var token: SecretReference?
        package var tenant: String
        /// Nil: all databases of the tenant.
        package var database: String?
        /// A file of certificates to trust instead of the system's.
        package var certificates: String?

        package init(
            url: String, container: ContainerPolicy? = nil, token: SecretReference? = nil,
            tenant: String = "default_tenant", database: String? = nil, certificates: String? = nil
        ) {
            self.url = url
            self.container = container
            self.token = token
            self.tenant = tenant
            self.database = database
            self.certificates = certificates
        }
    }

    /// The folder of a server of this host, to capture its files; nil: records are read from the server.
    package var path: String?
    /// With a path it only counts and queries.
    package var server: Server?

    package init(path: String? = nil, server: Server? = nil) {
        self.path = path
        self.server = server
    }

    /// Whether two components would capture and restore one collection of a server.
    func overlaps(_ other: ChromaPolicy) -> Bool {
        guard path == nil, other.path == nil, let server, let another = other.server else { return false }
        return (server.url, server.tenant, server.container) == (another.url, another.tenant, another.container)
            && (server.database == nil || another.database == nil || server.database == another.database)
    }
}

extension PolicyReader {
    mutating func chroma(_ node: LocatedNode, _ path: String) -> ChromaPolicy? {
        let known = ["url", "service", "project", "port", "path", "token", "tenant", "database", "certificates"]
        guard let fields = fields(node, path, known: known) else { return nil }
        let folder = self.path("path", in: fields)
        let server = server(fields, example: "http://127.0.0.1:8000", keyName: "token", port: 8000)
        let token = secret("token", in: fields)
        let tenant = text("tenant", in: fields)
        let database = text("database", in: fields)
        let certificates = self.path("certificates", in: fields)
        if fields["url"] == nil, fields["service"] == nil {
            guard fields["path"] != nil else {
                report(
                    "'\(fields.path)' needs the key 'url', 'service' or 'path'", at: fields.location,
                    hint: "'url' and 'service' read the records from the server, 'path' copies its folder on this host."
                )
                return nil
            }
            for key in ["token", "tenant", "database", "certificates"] where fields[key] != nil {
                report(
                    "'\(fields.path(key))' means nothing without 'url'", at: fields.keyLocation(key),
                    hint: "Remove it, or name the server that runs on the folder.")
            }
        }
        if server == nil, folder == nil { return nil }
        return ChromaPolicy(
            path: folder,
            server: server.map {
                ChromaPolicy.Server(
                    url: $0.url, container: $0.container, token: token, tenant: tenant ?? "default_tenant",
                    database: database,
                    certificates: certificates)
            })
    }
}
