// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

package struct QdrantPolicy: Sendable, Equatable {
    /// `http://` or `https://`, without user, password, query and fragment. With a container it only names it.
    package var url: String
    /// Where the server runs, instead of a URL.
    package var container: ContainerPolicy?
    package var apiKey: SecretReference?
    /// Names of collections or aliases; nil: all collections.
    package var collections: [String]?
    /// A file of certificates to trust instead of the system's.
    package var certificates: String?

    package init(
        url: String, container: ContainerPolicy? = nil, apiKey: SecretReference? = nil, collections: [String]? = nil,
        certificates: String? = nil
    ) {
        self.url = url
        self.container = container
        self.apiKey = apiKey
        self.collections = collections
        self.certificates = certificates
    }

    /// Whether two components would capture and restore one collection.
    func overlaps(_ other: QdrantPolicy) -> Bool {
        guard (url, container) == (other.url, other.container) else { return false }
        guard let collections, let others = other.collections else { return true }
        return !Set(collections).isDisjoint(with: others)
    }
}

extension PolicyReader {
    mutating func qdrant(_ node: LocatedNode, _ path: String) -> QdrantPolicy? {
        let known = ["url", "service", "project", "port", "api_key", "collections", "certificates"]
        guard let fields = fields(node, path, known: known) else { return nil }
        if fields["service"] == nil { _ = required("url", in: fields) }
        let server = server(fields, example: "http://127.0.0.1:6333", keyName: "api_key", port: 6333)
        let key = secret("api_key", in: fields)
        let collections = collectionNames("collections", in: fields)
        let certificates = self.path("certificates", in: fields)
        return server.map {
            QdrantPolicy(
                url: $0.url, container: $0.container, apiKey: key, collections: collections, certificates: certificates)
        }
    }

    private mutating func collectionNames(_ key: String, in fields: PolicyFields) -> [String]? {
        guard let node = fields[key], let items = list(node, fields.path(key)) else { return nil }
        if items.isEmpty {
            report(
                "'\(fields.path(key))' is empty", at: node.location,
                hint: "Name at least one collection or alias, or remove the key for all of them.")
        }
        var names: [String] = []
        for item in items {
            guard let name = text(item, fields.path(key), "a list of names of collections or aliases") else { continue }
            if names.contains(name) {
                report("'\(fields.path(key))' names '\(Self.shortened(name))' twice", at: item.location)
            }
            names.append(name)
        }
        return names
    }

    /// The address of a service, without a slash at its end. `keyName`: where a secret for it belongs.
    mutating func serviceURL(
        _ node: LocatedNode, _ path: String, example: String, keyName: String
    ) -> String? {
        guard var url = text(node, path, "a URL") else { return nil }
        guard let authority = Self.authority(of: url) else {
            report(
                "'\(path)' must be an http:// or https:// URL with a host", at: node.location,
                hint: "Write it like \(example).")
            return nil
        }
        guard !authority.contains("@") else {
            report(
                "'\(path)' holds a user or password, which a policy must not hold", at: node.location,
                hint: "Name the key under '\(keyName)'.")
            return nil
        }
        guard !url.contains("?"), !url.contains("#") else {
            report(
                "'\(path)' must be an address without '?' and '#'", at: node.location, hint: "Write it like \(example)."
            )
            return nil
        }
        while url.hasSuffix("/") { url.removeLast() }
        return url
    }
}
